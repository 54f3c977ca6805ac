"""Tensors of theirs and parameters of ours hold the same numbers, both ways."""

import numpy as np
import pytest

from gpt_jax.interop import mapping
from gpt_jax.interop.mapping import Entry

SIZES = dict(V=7, D=6, F=5, H=4, G=2, K=3, M=8, C=2, O=3)
ENTRIES = [
  Entry('x', ('a',), 'V D', 'V D'),
  Entry('x', ('a',), 'V D', 'D V'),
  Entry('x', ('a',), '(H K) D', 'D H K'),
  Entry('x', ('a',), 'D (H K)', 'H K D'),
  Entry('x', ('a', 'b', 'c'), 'D (P H K)', 'D H K'),
  Entry('x', ('a', 'b', 'c'), '(H P K) D', 'D H K'),
  Entry('x', ('a', 'b'), '(P F) D', 'D F'),
  Entry('x', ('a', 'b', 'c'), '(P H K)', 'H K'),
]


@pytest.mark.parametrize(
  'entry', ENTRIES, ids=lambda e: f'{e.their_axes}, {e.our_axes}'
)
@pytest.mark.parametrize('chunk', [1, 200, 1 << 20])
def test_a_tensor_made_of_its_parameters_is_itself(entry, chunk, monkeypatch):
  monkeypatch.setattr(mapping, 'CHUNK_BYTES', chunk)
  shape = entry.their_shape(SIZES)
  tensor = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  flat = tensor.reshape(-1)
  arrays = [np.full(entry.our_shape(SIZES), np.nan, np.float32) for _ in entry.ours]
  for place, array in enumerate(arrays):
    entry.fill(array, place, SIZES, lambda start, stop: flat[start:stop])
  again = np.concatenate(list(entry.gather(arrays, SIZES)))
  assert again.tobytes() == tensor.tobytes()


def test_parts_and_axes_are_where_the_letters_say():
  entry = ENTRIES[5]  # (H P K) D, as GPT-NeoX: q, k, v of each head side by side
  tensor = np.arange(4 * 3 * 3 * 6).reshape(36, 6)
  parts = [np.empty((6, 4, 3), int) for _ in entry.ours]
  for place, part in enumerate(parts):
    entry.fill(part, place, SIZES, lambda start, stop: tensor.reshape(-1)[start:stop])
  for head in range(4):
    for place, part in enumerate(parts):
      for k in range(3):
        row = head * 9 + place * 3 + k
        np.testing.assert_array_equal(part[:, head, k], tensor[row])


@pytest.mark.parametrize(
  'windows, pattern',
  [
    ([None] * 6, ('global',)),
    ([4, None, 4, None], ('local:4', 'global')),
    ([4, 4, 4], ('local:4',)),
    ([4, None, 4], ('local:4', 'global', 'local:4')),
    ([None, None, 8, 8], ('global', 'global', 'local:8', 'local:8')),
  ],
)
def test_a_pattern_is_the_shortest_that_repeats(windows, pattern):
  assert mapping.pattern_of(windows) == pattern
