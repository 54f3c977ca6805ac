"""Whether the KV cache of a batch fits into the memory that is free."""

import functools

import jax

from gpt_jax.core import pytree
from gpt_jax.model.cache import empty_cache
from gpt_jax.parallel import free_memory

NEGLIGIBLE = 2**24
"""Bytes of a cache for which it is not worth a millisecond to ask what is free."""


def require_fit(cfg, prompts_ids, max_new_tokens, cache_len, dtype=None):
  """Raises ConfigError, before anything is allocated, unless `cache_len` tokens fit.

  `dtype` is that of the cache, as of `empty_cache`.
  """
  needed = cache_len * token_bytes(cfg, len(prompts_ids), dtype)
  if needed <= NEGLIGIBLE:
    return
  free = free_bytes()
  if free is not None and needed > free:
    raise free_memory.shortage(
      _subject(prompts_ids, max_new_tokens, cache_len),
      needed,
      free,
      _remedy(cfg, prompts_ids, dtype),
    )


def explained(cfg, prompts_ids, max_new_tokens, dtype=None):
  """Turns a lack of memory while a batch is read or decoded into a ConfigError."""
  return free_memory.explained(
    lambda: _subject(prompts_ids, max_new_tokens),
    lambda _: _remedy(cfg, prompts_ids, dtype),
  )


def _subject(prompts_ids, max_new_tokens, cache_len=None):
  longest = max(map(len, prompts_ids))
  text = f'max_new_tokens={max_new_tokens} after {longest} tokens'
  text += f' in {len(prompts_ids)} rows' if len(prompts_ids) > 1 else ''
  return text + (f', a cache of {cache_len:,} places,' if cache_len else '')


def _remedy(cfg, prompts_ids, dtype):
  """Returns how many new tokens fit; a cache has a power of two of places."""
  rows, longest, free = len(prompts_ids), max(map(len, prompts_ids)), free_bytes()
  places = 0 if free is None else int(free // token_bytes(cfg, rows, dtype))
  largest = (1 << max(0, places.bit_length() - 1)) - longest
  if largest > 0:
    return f'At most {largest:,} new tokens fit' + (
      ', more with fewer prompts at once.' if rows > 1 else '.'
    )
  return 'Give fewer or shorter prompts, or use a larger device.'


@functools.cache  # tracing takes as long as several tokens of a small model
def token_bytes(cfg, rows, dtype=None):
  """Returns the bytes of one place in the cache of all rows and layers."""
  cache = jax.eval_shape(lambda: empty_cache(cfg, rows, 1, dtype)['layers'])
  return pytree.size_bytes(cache)


def free_bytes():
  """Returns the bytes free on all devices of this process, None if unknown."""
  devices = jax.local_devices()
  free = free_memory.free_on(devices[0])
  if free is None or devices[0].platform == 'cpu':
    return free
  return free * len(devices)  # at best: a cache need not be sharded
