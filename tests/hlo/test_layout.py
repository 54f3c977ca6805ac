"""HLO types: the memory space of arrays, and the padding of tiles."""

import pytest

from gpt_jax.hlo import layout


@pytest.mark.parametrize(
  'text, size',
  [
    ('f32[3,5]', 60),
    ('f32[8,128]{1,0:T(8,128)}', 8 * 128 * 4),
    ('bf16[8,12,1024,64]{3,2,1,0:T(8,128)(2,1)}', 8 * 12 * 1024 * 128 * 2),
    ('bf16[8,12,1024,64]{2,3,1,0:T(8,128)(2,1)}', 8 * 12 * 1024 * 64 * 2),
    ('f32[3]{0:T(8,128)}', 8 * 128 * 4),  # one row of a tile
    ('pred[]', 1),
    ('f32[8]{0:S(1)}', 0),  # on the chip
    ('(f32[2]{0}, (bf16[4]{0}, u32[]{:S(2)}), /*index=2*/f32[2]{0:S(1)})', 8 + 8),
  ],
)
def test_bytes_in_hbm_include_the_padding_of_tiles(text, size):
  assert layout.hbm_bytes(text) == size
  leaves = layout.leaves(layout.tree(text))
  assert sum(leaf.bytes for leaf in leaves if leaf.in_hbm) == size


def test_tuple_types_keep_their_nesting():
  first, (second, third), last = layout.tree(
    '(f32[2]{0}, (bf16[4,2]{1,0:T(8,128)}, token[]), /*index=2*/s32[])'
  )
  assert (str(first), str(second), str(last)) == ('f32[2]', 'bf16[4,2]', 's32[]')
  assert third.bytes == 0


def test_text_that_is_no_type_is_an_error():
  with pytest.raises(ValueError, match='expected an HLO type'):
    layout.tree('?')
