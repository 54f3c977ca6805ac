"""What a GGUF file says it holds, read strictly: fields, and where each tensor lies.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count and length is
compared with what is left of the file before anything is read or allocated for it. The
format has no checksums: a changed value of the right kind goes unseen here.
"""

import dataclasses
import math
import struct

import numpy as np

from gpt_jax.core.errors import CheckpointError

VERSIONS = (2, 3)

TENSOR_KINDS = {
  0: ('F32', 1, 4),
  1: ('F16', 1, 2),
  2: ('Q4_0', 32, 18),
  3: ('Q4_1', 32, 20),
  6: ('Q5_0', 32, 22),
  7: ('Q5_1', 32, 24),
  8: ('Q8_0', 32, 34),
  10: ('Q2_K', 256, 84),
  11: ('Q3_K', 256, 110),
  12: ('Q4_K', 256, 144),
  13: ('Q5_K', 256, 176),
  14: ('Q6_K', 256, 210),
  16: ('IQ2_XXS', 256, 66),
  17: ('IQ2_XS', 256, 74),
  18: ('IQ3_XXS', 256, 98),
  19: ('IQ1_S', 256, 50),
  20: ('IQ4_NL', 32, 18),
  21: ('IQ3_S', 256, 110),
  22: ('IQ2_S', 256, 82),
  23: ('IQ4_XS', 256, 136),
  29: ('IQ1_M', 256, 56),
  30: ('BF16', 1, 2),
}
"""By number: the name of a type, the values of a block, and its bytes."""

_SCALARS = {
  0: 'u1', 1: 'i1', 2: '<u2', 3: '<i2', 4: '<u4', 5: '<i4', 6: '<f4', 7: '?',
  10: '<u8', 11: '<i8', 12: '<f8',
}  # fmt: skip
_FLOAT, _BOOL, _STRING, _ARRAY = 6, 7, 8, 9
_LEAST_FIELD = 8 + 4 + 1  # bytes: a key's length, a type, a value
_LEAST_TENSOR = 8 + 4 + 8 + 4 + 8  # a name's length, one dimension, a type, an offset
_MAX_NAME = 1 << 16
_MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT, _MAX_ALIGNMENT = 32, 1 << 16


@dataclasses.dataclass(frozen=True)
class TensorPlace:
  """One tensor of the file."""

  name: str
  shape: tuple[int, ...]  # outermost dimension first
  kind: str  # of TENSOR_KINDS
  start: int  # bytes from the beginning of the file
  block_values: int
  block_bytes: int

  @property
  def num_values(self):
    return math.prod(self.shape)

  @property
  def num_bytes(self):
    return self.num_values // self.block_values * self.block_bytes


class _Reader:
  """Reads a file forwards, and never asks for more than is left."""

  def __init__(self, file, size, path):
    self._file, self._left, self.path = file, size, path
    self.position = 0

  def wrong(self, what):
    return damaged(self.path, f'{what} (byte {self.position})')

  def require(self, count, least, what):
    """Raises CheckpointError where `count` parts of `least` bytes cannot follow."""
    if count * least > self._left:
      raise self.wrong(
        f'{what} takes at least {count * least} bytes, {self._left} are left'
      )

  def take(self, count, what):
    self.require(count, 1, what)
    content = self._file.read(count)
    if len(content) != count:
      raise self.wrong(f'{what} ends early')
    self.position += count
    self._left -= count
    return content

  def number(self, form, what):
    return struct.unpack('<' + form, self.take(struct.calcsize('<' + form), what))[0]

  def text(self, what, most=None):
    length = self.number('Q', f'the length of {what}')
    if most is not None and length > most:
      raise self.wrong(f'{what} has {length} bytes; expected at most {most}')
    try:
      return self.take(length, what).decode()
    except UnicodeDecodeError:
      raise self.wrong(f'{what} is not UTF-8') from None

  def value(self, kind, what):
    """Returns a field's value: int, float, bool, str, a list of str, or an array."""
    if kind == _STRING:
      return self.text(what)
    if kind in _SCALARS:
      number = self._numbers(kind, 1, what)[0]
      # 1e-06 as it was before it became 32 bits, not 9.999999974752427e-07.
      return float(str(number)) if kind == _FLOAT else number.item()
    if kind != _ARRAY:
      raise self.wrong(f'{what} has the type {kind}; expected 0 to 12')
    kind, count = self.number('I', what), self.number('Q', what)
    if kind == _STRING:
      self.require(count, 8, what)
      return [self.text(what) for _ in range(count)]
    if kind not in _SCALARS:
      raise self.wrong(f'{what} is an array of type {kind}; expected numbers or texts')
    return self._numbers(kind, count, what)

  def _numbers(self, kind, count, what):
    dtype = np.dtype(_SCALARS[kind])
    self.require(count, dtype.itemsize, what)
    content = self.take(count * dtype.itemsize, what)
    if kind == _BOOL and content.strip(b'\0\1'):
      raise self.wrong(f'{what} is neither true nor false')
    return np.frombuffer(content, dtype)


def damaged(path, text):
  """Returns the CheckpointError for a file that is not as its header says."""
  return CheckpointError(
    f'{path}: {text}. The file is damaged or cut short; get it again.'
  )


def read_header(file, size, path):
  """Returns ({field: value}, {tensor: TensorPlace}) of an open GGUF file.

  Raises CheckpointError for whatever is not as the format says, before
  a tensor is read.
  """
  reader = _Reader(file, size, path)
  _check_version(reader)
  num_tensors = reader.number('Q', 'the number of tensors')
  num_fields = reader.number('Q', 'the number of fields')
  reader.require(num_fields, _LEAST_FIELD, f'a header of {num_fields} fields')
  fields = {}
  for i in range(num_fields):
    key = reader.text(f'the name of field {i}', _MAX_NAME)
    if key in fields:
      raise reader.wrong(f'the field {key!r} is there twice')
    fields[key] = reader.value(reader.number('I', f'field {key!r}'), f'field {key!r}')
  alignment = _alignment(reader, fields)
  reader.require(num_tensors, _LEAST_TENSOR, f'a list of {num_tensors} tensors')
  described = [_describe(reader, i) for i in range(num_tensors)]
  return fields, _places(described, reader, size, alignment)


def _check_version(reader):
  if reader.take(4, 'the beginning') != b'GGUF':
    raise CheckpointError(f'{reader.path}: not a GGUF file (it begins otherwise).')
  version = reader.number('I', 'the version')
  if version in VERSIONS:
    return
  swapped = int.from_bytes(version.to_bytes(4, 'little'), 'big')
  kind = ' of a big-endian machine' if swapped in VERSIONS else ''
  raise CheckpointError(
    f'{reader.path}: GGUF version {swapped if kind else version}{kind}; expected'
    f' {" or ".join(map(str, VERSIONS))}, little-endian. Convert it with a recent'
    ' llama.cpp.'
  )


def _alignment(reader, fields):
  alignment = fields.get('general.alignment', _DEFAULT_ALIGNMENT)
  is_power = isinstance(alignment, int) and alignment.bit_count() == 1
  if not is_power or not 8 <= alignment <= _MAX_ALIGNMENT:
    raise reader.wrong(
      f'general.alignment={alignment!r}; expected a power of two from 8 to'
      f' {_MAX_ALIGNMENT}'
    )
  return alignment


def _describe(reader, i):
  """Returns (name, shape, type's number, offset) of tensor `i`, its parts checked."""
  name = reader.text(f'the name of tensor {i}', _MAX_NAME)
  rank = reader.number('I', f'tensor {name!r}')
  if not 1 <= rank <= _MAX_DIMENSIONS:
    raise reader.wrong(
      f'tensor {name!r} has {rank} dimensions; expected 1 to {_MAX_DIMENSIONS}'
    )
  sizes = [reader.number('Q', f'tensor {name!r}') for _ in range(rank)]
  kind = reader.number('I', f'tensor {name!r}')
  offset = reader.number('Q', f'tensor {name!r}')
  if kind not in TENSOR_KINDS:
    known = ', '.join(name for name, _, _ in TENSOR_KINDS.values())
    raise CheckpointError(
      f'{reader.path}: tensor {name!r} has the type {kind}, which is not read; known'
      f' are {known}. Convert it with llama-quantize to one of these.'
    )
  # The innermost comes first in the file.
  return name, tuple(reversed(sizes)), kind, offset


def _places(described, reader, size, alignment):
  """Returns {name: TensorPlace}; each tensor follows the one before it, aligned."""
  places, data_start = {}, _padded(reader.position, alignment)
  expected = 0
  for name, shape, number, offset in described:
    kind, block_values, block_bytes = TENSOR_KINDS[number]
    if name in places:
      raise reader.wrong(f'the tensor {name!r} is there twice')
    if not all(shape) or shape[-1] % block_values:
      raise reader.wrong(
        f'tensor {name!r} of type {kind} has the shape {list(shape)}; expected rows of'
        f' a multiple of {block_values}'
      )
    if offset != expected:
      raise reader.wrong(f'tensor {name!r} has the offset {offset}, not {expected}')
    place = TensorPlace(
      name, shape, kind, data_start + offset, block_values, block_bytes
    )
    if place.start + place.num_bytes > size:
      raise reader.wrong(
        f'tensor {name!r} ends at byte {place.start + place.num_bytes}, the file at'
        f' {size}'
      )
    places[name] = place
    expected = _padded(offset + place.num_bytes, alignment)
  if size > data_start + expected:
    raise reader.wrong(
      f'its tensors end at byte {data_start + expected}, the file at {size}'
    )
  return places


def _padded(position, alignment):
  return -(-position // alignment) * alignment
