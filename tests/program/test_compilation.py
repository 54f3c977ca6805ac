"""The compilation cache: hit or miss, by what jax itself reports."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from gpt_jax.program import compilation

NAMES = (
  'jax_compilation_cache_dir',
  'jax_persistent_cache_min_compile_time_secs',
  'jax_enable_compilation_cache',
)


@pytest.fixture
def cache(tmp_path):
  """Gives `set_cache(folder, seconds)`; the cache of the tests comes back after it."""
  before = {name: jax.config.values[name] for name in NAMES}

  def set_cache(folder=str(tmp_path), seconds=0.0, enabled=True):
    compilation_cache.reset_cache()
    for name, value in zip(NAMES, (folder, seconds, enabled), strict=True):
      jax.config.update(name, value)

  yield set_cache
  set_cache(*before.values())


def compile_something():
  with compilation.watch() as seen:
    jax.jit(lambda x: jnp.sin(x) * 3 + 1)(jnp.float32(2))
  return seen


def test_what_was_kept_is_a_hit_the_next_time(cache):
  cache()
  first = compile_something()
  assert not first.is_hit
  assert re.match(r'not in the .* cache: compiled in \d.* s, kept', str(first))
  cache()
  second = compile_something()
  assert second.is_hit
  assert str(second).startswith('from the compilation cache in ')
  assert second.metrics()['train/compile_cache_hit'] == 1
  assert second.metrics()['train/compile_seconds'] == second.seconds > 0


def test_what_compiles_fast_is_not_kept_and_says_so(cache):
  cache(seconds=1e6)
  assert str(compile_something()).endswith('s, too short to be kept')
  cache(seconds=1e6)
  assert not compile_something().is_hit


def test_without_a_cache_nothing_is_hit_or_kept(cache):
  cache(enabled=False)
  seen = compile_something()
  assert str(seen).endswith('without a compilation cache')
  assert not seen.is_hit and seen.seconds > 0


def test_after_watching_nothing_is_counted(cache):
  cache(enabled=False)
  seen = compile_something()
  seconds = seen.seconds
  jax.jit(lambda x: jnp.cos(x))(jnp.float32(2))
  assert seen.seconds == seconds


def test_the_cache_folder_is_described(cache, tmp_path):
  cache()
  assert compilation.describe_cache() == f'compilation cache in {tmp_path}'
  cache(enabled=False)
  assert compilation.describe_cache() == 'no compilation cache'
  cache(folder=None)
  assert compilation.describe_cache() == 'no compilation cache'
