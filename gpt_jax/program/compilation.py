"""What jax compiles or finds in its compilation cache, by its own monitoring events."""

import contextlib
import dataclasses

import jax
from jax import monitoring

# Nothing else tells a hit of the cache from a fast compilation.
_REQUESTS = '/jax/compilation_cache/compile_requests_use_cache'
_HITS = '/jax/compilation_cache/cache_hits'
# Counts programs written: one that compiles faster than
# jax_persistent_cache_min_compile_time_secs is no miss to jax.
_MISSES = '/jax/compilation_cache/cache_misses'
_COMPILE = '/jax/core/compile/backend_compile_duration'
_SAVED = '/jax/compilation_cache/compile_time_saved_sec'


@dataclasses.dataclass
class Compilation:
  """What was compiled inside a `watch` block."""

  counts: dict[str, int]
  seconds: float = 0.0  # of XLA, or of reading from the cache
  saved_seconds: float = 0.0

  @property
  def is_hit(self):
    """Returns whether all programs came from the cache."""
    return 0 < self.counts[_REQUESTS] == self.counts[_HITS]

  def metrics(self):
    return {
      'train/compile_seconds': self.seconds,
      'train/compile_cache_hit': float(self.is_hit),
    }

  def __str__(self):
    if self.is_hit:
      saved = f', {self.saved_seconds:.1f} s saved' if self.saved_seconds > 0 else ''
      return f'from the compilation cache in {self.seconds:.1f} s{saved}'
    if not self.seconds:
      return 'compiled before, for another run of this process'
    if not self.counts[_REQUESTS]:
      return f'compiled in {self.seconds:.1f} s, without a compilation cache'
    kept = 'kept for the next run' if self.counts[_MISSES] else 'too short to be kept'
    return f'not in the compilation cache: compiled in {self.seconds:.1f} s, {kept}'


@contextlib.contextmanager
def watch():
  """Returns a context manager: a Compilation of what its block compiles."""
  found = Compilation(dict.fromkeys((_REQUESTS, _HITS, _MISSES), 0))

  def count(event, **_):
    if event in found.counts:
      found.counts[event] += 1

  def add(event, duration_secs, **_):
    if event == _COMPILE:
      found.seconds += duration_secs
    elif event == _SAVED:
      found.saved_seconds += duration_secs

  monitoring.register_event_listener(count)
  monitoring.register_event_duration_secs_listener(add)
  try:
    yield found
  finally:
    monitoring.unregister_event_listener(count)
    monitoring.unregister_event_duration_listener(add)


def describe_cache():
  """Returns where compiled programs are kept, in words."""
  folder = jax.config.values['jax_compilation_cache_dir']
  if not folder or not jax.config.values['jax_enable_compilation_cache']:
    return 'no compilation cache'
  return f'compilation cache in {folder}'
