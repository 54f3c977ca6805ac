"""Rows and blocks that are moved hold the tokens that they held before."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.inference import decode, rows
from gpt_jax.model.cache import empty_cache
from tests import small_models as small

MODEL = small.make_gpt(
  small.resolve(
    model__layer_pattern=('local:5', 'global'),
    model__position='rope',
    model__scan_layers=False,
  )  # fmt: skip
)
EXTEND = small.jit(
  functools.partial(decode.extend, model=MODEL, places=16, logits='last')
)
TEXT = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])


@functools.cache
def params():
  return small.random_params(MODEL)


def read(cache, slot, start, ids):
  row = np.array([slot]), np.array([start]), np.array([len(ids)])
  return EXTEND(params(), cache, np.asarray(ids)[None], *row)


def with_text(batch=3, slot=1, dtype=None, length=16):
  """Returns a cache whose row `slot` holds TEXT, read in chunks of four."""
  cache = empty_cache(MODEL.cfg, batch, length, dtype)
  for start in range(0, len(TEXT), 4):
    cache, _ = read(cache, slot, start, TEXT[start : start + 4])
  return cache


def next_logits(cache, slot):
  return np.asarray(read(cache, slot, len(TEXT), [7, 2, 7, 2])[1][0])


@functools.cache
def expected():
  return next_logits(with_text(), 1)


def test_rows_trade_places_with_all_that_they_hold():
  moved = rows.take(with_text(), np.array([1, 1, 0]))
  assert moved['length_B'].tolist() == [12, 12, 0]
  for slot in (0, 1):
    np.testing.assert_array_equal(next_logits(moved, slot), expected())
  slot_1 = np.array([1])
  back = rows.put(empty_cache(MODEL.cfg, 2, 16), rows.take(moved, slot_1), slot_1)
  np.testing.assert_array_equal(next_logits(back, 1), expected())


@pytest.mark.parametrize('size', [4, 12])
def test_blocks_bring_a_text_into_another_row(size):
  store = rows.empty_store(MODEL.cfg, 5, size)
  cache = empty_cache(MODEL.cfg, 3, 16)
  for start in range(0, len(TEXT), 4):
    cache, _ = read(cache, 1, start, TEXT[start : start + 4])
    if (start + 4) % size == 0:
      begin, number = start + 4 - size, 4 - start // size
      store = rows.save_block(cache, store, 1, begin, number, block_tokens=size)
  for start in range(0, len(TEXT), size):
    number = 4 - (start + size - 4) // size
    cache = rows.load_block(cache, store, 2, start, number, block_tokens=size)
  assert cache['length_B'].tolist() == [0, 12, 12]
  np.testing.assert_array_equal(next_logits(cache, 2), expected())
  np.testing.assert_array_equal(next_logits(cache, 1), expected())


def test_a_cache_grows_and_shrinks_around_its_tokens():
  cache = with_text()
  longer = rows.resize(cache, MODEL.cfg, 32)
  assert longer['layers'][0]['block_1'].num_places == 32
  np.testing.assert_array_equal(next_logits(longer, 1), expected())
  again = rows.resize(longer, MODEL.cfg, 16)
  for one, other in zip(jax.tree.leaves(cache), jax.tree.leaves(again), strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_cache_shorter_than_the_window_grows_into_a_ring():
  cache, _ = read(empty_cache(MODEL.cfg, 3, 4), 1, 0, TEXT[:4])
  assert not cache['layers'][0]['block_0'].is_ring
  cache = rows.resize(cache, MODEL.cfg, 16)
  assert cache['layers'][0]['block_0'].is_ring
  for start in (4, 8):
    cache, _ = read(cache, 1, start, TEXT[start : start + 4])
  np.testing.assert_allclose(next_logits(cache, 1), expected(), atol=1e-5)


@pytest.mark.slow
def test_blocks_and_rows_of_eight_bits_move_too():
  cache = with_text(dtype=jnp.int8)
  store = rows.empty_store(MODEL.cfg, 1, 12, jnp.int8)
  store = rows.save_block(cache, store, 1, 0, 0, block_tokens=12)
  loaded = rows.load_block(
    empty_cache(MODEL.cfg, 3, 16, jnp.int8), store, 0, 0, 0, block_tokens=12
  )
  np.testing.assert_array_equal(next_logits(loaded, 0), next_logits(cache, 1))
