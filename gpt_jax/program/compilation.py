"""Where compiled programs are kept between runs, and whether one came from there.

jax tells its own monitoring what it does; nothing else knows a hit from a fast compile.
"""

import contextlib
import dataclasses

import jax
from jax import monitoring

_ASKED = '/jax/compilation_cache/compile_requests_use_cache'
_FOUND = '/jax/compilation_cache/cache_hits'
# Told when a program is written: one that compiles faster than
# jax_persistent_cache_min_compile_time_secs is no miss to jax.
_KEPT = '/jax/compilation_cache/cache_misses'
_COMPILE = '/jax/core/compile/backend_compile_duration'
_SAVED = '/jax/compilation_cache/compile_time_saved_sec'


@dataclasses.dataclass
class Compilation:
  """What was compiled while somebody watched."""

  counts: dict[str, int]
  seconds: float = 0.0
  """Spent by XLA, or reading from the cache."""
  saved_seconds: float = 0.0

  @property
  def is_hit(self):
    """Whether all that was needed came from the cache."""
    return 0 < self.counts[_ASKED] == self.counts[_FOUND]

  def metrics(self):
    """Returns the figures that are recorded."""
    return {
      'train/compile_seconds': self.seconds,
      'train/compile_cache_hit': float(self.is_hit),
    }

  def __str__(self):
    if self.is_hit:
      saved = f', {self.saved_seconds:.1f} s saved' if self.saved_seconds > 0 else ''
      return f'from the compilation cache in {self.seconds:.1f} s{saved}'
    if not self.counts[_ASKED]:
      return f'compiled in {self.seconds:.1f} s, without a compilation cache'
    kept = 'kept for the next run' if self.counts[_KEPT] else 'too short to be kept'
    return f'not in the compilation cache: compiled in {self.seconds:.1f} s, {kept}'


@contextlib.contextmanager
def watch():
  """Gives a Compilation that fills up with what is compiled meanwhile."""
  seen = Compilation(dict.fromkeys((_ASKED, _FOUND, _KEPT), 0))

  def count(event, **_):
    if event in seen.counts:
      seen.counts[event] += 1

  def add(event, duration_secs, **_):
    if event == _COMPILE:
      seen.seconds += duration_secs
    elif event == _SAVED:
      seen.saved_seconds += duration_secs

  monitoring.register_event_listener(count)
  monitoring.register_event_duration_secs_listener(add)
  try:
    yield seen
  finally:
    monitoring.unregister_event_listener(count)
    monitoring.unregister_event_duration_listener(add)


def describe_cache():
  """Returns where compiled programs are kept, in words."""
  folder = jax.config.values['jax_compilation_cache_dir']
  if not folder or not jax.config.values['jax_enable_compilation_cache']:
    return 'no compilation cache'
  return f'compilation cache in {folder}'
