"""The arrays of an HLO type: their memory space, and their size with padded tiles.

`bf16[8,1024,64]{2,1,0:T(8,128)(2,1)S(1)}`: after the dimensions come their order from
the innermost, the tile that the innermost are padded to, and the memory space: none is
HBM, S(1) the on-chip memory of a TPU, others hold semaphores or belong to the host.
"""

import dataclasses
import re

from gpt_jax.hlo import parser

_LEAF = re.compile(
  r'(?P<dtype>[a-z]\w*)\[(?P<dims>[\d,<=]*)\](?:\{(?P<layout>[^}]*)\})?'
)
_SPACE = re.compile(r'S\((\d+)\)')
_BETWEEN = re.compile(r'(?:,|\s|/\*.*?\*/)*')


@dataclasses.dataclass(frozen=True)
class ArrayType:
  dtype: str
  dims: tuple[int, ...]
  bytes: int  # with the padding of its tiles
  in_hbm: bool

  def __str__(self):
    return f'{self.dtype}[{",".join(map(str, self.dims))}]'


def tree(type_text):
  """Returns a type as an ArrayType, or as nested tuples of them."""
  result, _ = _tree(type_text, 0)
  return result


def leaves(type_tree):
  """Returns the ArrayTypes of a `tree`, in order."""
  if not isinstance(type_tree, tuple):
    return [type_tree]
  return [leaf for part in type_tree for leaf in leaves(part)]


def hbm_bytes(type_text):
  """Returns the bytes of a type's arrays in HBM, with the padding of tiles."""
  found = map(_array, _LEAF.finditer(type_text))
  return sum(array.bytes for array in found if array.in_hbm)


def _tree(text, position):
  if text.startswith('(', position):
    parts, position = [], position + 1
    while not text.startswith(')', position):
      part, position = _tree(text, position)
      parts.append(part)
      position = _skip(text, position)
    return tuple(parts), position + 1
  found = _LEAF.match(text, position)
  if not found:
    raise ValueError(f'expected an HLO type, got {text[position : position + 80]!r}')
  return _array(found), found.end()


def _skip(text, position):
  found = _BETWEEN.match(text, position)
  return found.end() if found else position


def _array(found):
  dims = tuple(int(size.strip('<=')) for size in found['dims'].split(',') if size)
  layout = found['layout'] or ''
  order, _, tiles = layout.partition(':')
  sizes = [dims[int(axis)] for axis in order.split(',') if axis][::-1] or list(dims)
  tile = re.match(r'T\(([\d,]+)\)', tiles)
  if tile:
    tile = [int(size) for size in tile.group(1).split(',')]
    sizes = [1] * (len(tile) - len(sizes)) + sizes
    for axis, size in enumerate(tile, start=len(sizes) - len(tile)):
      sizes[axis] = -(-sizes[axis] // size) * size
  space = _SPACE.search(tiles)
  return ArrayType(
    dtype=found['dtype'],
    dims=dims,
    bytes=parser.array_bytes(found['dtype'], tuple(sizes)),
    in_hbm=space is None,
  )
