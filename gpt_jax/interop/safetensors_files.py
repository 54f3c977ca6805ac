"""Tensors of safetensors files, one or many with an index: checked, then read in parts.

The format: 8 bytes that give the length of a JSON header, the header, the bytes of the
tensors one after another (https://github.com/huggingface/safetensors). The header is
checked as a whole, against the size of the file, before anything is read: a header that
lies about sizes allocates nothing. bfloat16 needs more than numpy, which is why the
files are read here and not by the library.
"""

import dataclasses
import json
import math
import os
import pathlib
import struct
from typing import Any

import jax.numpy as jnp
import numpy as np

from gpt_jax.core.errors import CheckpointError

ONE_FILE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
MAX_HEADER_BYTES = 100_000_000  # the limit of the format
DTYPES = {'F32': jnp.float32, 'BF16': jnp.bfloat16, 'F16': jnp.float16}
"""Types that parameters may have."""
BITS = {
  'F32': 32, 'BF16': 16, 'F16': 16, 'F64': 64, 'I64': 64, 'U64': 64, 'I32': 32,
  'U32': 32, 'I16': 16, 'U16': 16, 'I8': 8, 'U8': 8, 'BOOL': 8, 'F8_E4M3': 8,
  'F8_E5M2': 8, 'C64': 64,
}  # fmt: skip
"""Of all types, also those of tensors that are no parameters, such as masks."""
TYPE_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


@dataclasses.dataclass(frozen=True)
class Spec:
  """What a header says of a tensor."""

  shape: tuple[int, ...]
  dtype: str  # as in the header, or as GGUF calls it
  path: pathlib.Path
  start: int = 0  # of its bytes in the file
  stop: int = 0

  def __str__(self):
    return f'{self.dtype}{list(self.shape)}'


class SafetensorsFiles:
  """The tensors of a folder, or of one file."""

  def __init__(self, path):
    self._handles = {}
    self.path = pathlib.Path(path)
    self.specs: dict[str, Spec] = _read_specs(self.path)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def close(self):
    for handle in self._handles.values():
      os.close(handle)
    self._handles = {}

  def dtype_of(self, name):
    """Returns the numpy dtype of a tensor, None for one that can be no parameter."""
    found = DTYPES.get(self.specs[name].dtype)
    return None if found is None else np.dtype(found)

  def read(self, name, start, stop):
    """Returns the elements `start` to `stop` of a tensor, flat."""
    spec, dtype = self.specs[name], self.dtype_of(name)
    assert dtype is not None
    part = np.empty(stop - start, dtype)
    where = spec.start + start * dtype.itemsize
    left: Any = memoryview(part.view(np.uint8).data)
    handle = self._open(spec.path)
    while len(left):
      count = os.preadv(handle, [left], where)
      if not count:
        raise CheckpointError(f'{spec.path}: became shorter while it was read.')
      left, where = left[count:], where + count
    return part

  def _open(self, path):
    if path not in self._handles:
      self._handles[path] = os.open(path, os.O_RDONLY)
    return self._handles[path]


def is_there(folder):
  """Returns whether a folder has safetensors files."""
  return any(pathlib.Path(folder).glob('*.safetensors*'))


def _read_specs(path):
  if path.is_file():
    return read_header(path)
  if (path / INDEX).is_file():
    return _read_sharded(path)
  files = sorted(path.glob('*.safetensors'))
  if (path / ONE_FILE).is_file():
    return read_header(path / ONE_FILE)
  if len(files) == 1:
    return read_header(files[0])
  if files:
    names = ', '.join(file.name for file in files[:4])
    raise CheckpointError(
      f'{path}: has {len(files)} safetensors files ({names}), but no {INDEX} that says'
      ' which belong together; copy that file too, or give one file a folder.'
    )
  raise CheckpointError(_nothing_to_read(path))


def _nothing_to_read(path):
  patterns = ('*.bin', '*.pt', '*.pth', '*.ckpt', '*.h5', '*.msgpack')
  others = sorted(file.name for pattern in patterns for file in path.glob(pattern))
  if not others:
    return f'{path}: has no safetensors files ({ONE_FILE} or {INDEX}).'
  return (
    f'{path}: has {", ".join(others[:3])}, but no safetensors files. Such files may run'
    ' code when they are opened, so they are not. Where torch and transformers are'
    ' installed and the source is trusted, convert them once: python -c "import'
    ' transformers;'
    f" transformers.AutoModelForCausalLM.from_pretrained('{path}')"
    ".save_pretrained('OUT')\" and copy the tokenizer files to OUT."
  )


def _read_sharded(folder):
  """Returns the specs of all shards, if index and shards agree."""
  index = folder / INDEX
  content = load_json(index)
  shards = content.get('weight_map') if isinstance(content, dict) else None
  if not isinstance(shards, dict) or not shards:
    raise CheckpointError(f'{index}: has no "weight_map" of tensors to files.')
  problems = []
  for file in sorted({str(file) for file in shards.values()}):
    plain = file == os.path.basename(file) and not file.startswith('.')
    if not plain or '\\' in file or '\0' in file or not file.endswith('.safetensors'):
      problems.append(f'{file!r}: expected the name of a .safetensors file beside it')
    elif not (folder / file).is_file():
      problems.append(f'{file}: no such file; the download is not complete')
  if problems:
    raise CheckpointError(f'{index}: {_listed(problems)}')
  specs = {}
  for file in sorted(set(shards.values())):
    for name, spec in read_header(folder / file).items():
      if name in specs:
        problems.append(f'{name}: in both {specs[name].path.name} and {file}')
      elif name not in shards:
        problems.append(f'{name}: in {file}, but not in the index')
      elif shards[name] != file:
        problems.append(f'{name}: in {file}, but the index says {shards[name]}')
      specs[name] = spec
  problems += [
    f'{name}: not in {file}' for name, file in shards.items() if name not in specs
  ]
  if problems:
    raise CheckpointError(f'{index}: does not fit its files: {_listed(problems)}')
  return specs


def read_header(path):
  """Returns {name: Spec} of a safetensors file; CheckpointError unless all of it fits.

  The tensors have to fill the file without gaps or overlaps, as the format wants.
  """
  size = path.stat().st_size
  with open(path, 'rb') as handle:
    start = handle.read(8)
    length = struct.unpack('<Q', start)[0] if len(start) == 8 else size
    if 8 + length > size or length > MAX_HEADER_BYTES:
      raise CheckpointError(
        f'{path}: no safetensors file, or cut off: its header would have {length:,}'
        f' bytes, and the file has {size:,}. Copy it again.'
      )
    header = parse_json(handle.read(length), path)
  if not isinstance(header, dict):
    raise CheckpointError(f'{path}: its header is no JSON object; copy it again.')
  header.pop('__metadata__', None)
  specs, problems = {}, []
  for name, entry in header.items():
    try:
      specs[name] = _spec(entry, path, 8 + length)
    except (ValueError, TypeError, KeyError) as error:
      problems.append(f'{name}: {error}')
  if not problems:
    problems = _layout_problems(specs, 8 + length, size)
  if problems:
    raise CheckpointError(
      f'{path}: damaged, or cut off: {_listed(problems)}\nCopy it again.'
    )
  return specs


def _spec(entry, path, data):
  if not isinstance(entry, dict) or set(entry) != {'dtype', 'shape', 'data_offsets'}:
    raise ValueError('expected dtype, shape and data_offsets')
  dtype, shape, offsets = entry['dtype'], entry['shape'], entry['data_offsets']
  if not isinstance(dtype, str) or dtype not in BITS:
    raise ValueError(f'dtype={dtype!r} is not known')
  for numbers in (shape, offsets):
    if not isinstance(numbers, list) or any(
      type(number) is not int or number < 0 for number in numbers
    ):
      raise ValueError(f'{numbers!r}: expected a list of whole numbers')
  if len(offsets) != 2 or len(shape) > 8:
    raise ValueError(f'shape {shape}, data_offsets {offsets}: too many numbers')
  begin, end = offsets
  if math.prod(shape) * BITS[dtype] != 8 * (end - begin):
    raise ValueError(
      f'{dtype}{shape} takes {math.prod(shape) * BITS[dtype] // 8:,} bytes, but'
      f' data_offsets give it {end - begin:,}'
    )
  return Spec(tuple(shape), dtype, path, data + begin, data + end)


def _layout_problems(specs, data, size):
  problems, end = [], data
  for name, spec in sorted(specs.items(), key=lambda item: item[1].start):
    if spec.start != end:
      kind = 'overlaps another tensor' if spec.start < end else 'follows a gap'
      problems.append(f'{name}: {kind}, at byte {spec.start:,} of the file')
    end = spec.stop
  if end != size:
    problems.append(f'the tensors end at byte {end:,}, the file at {size:,}')
  return problems


def load_json(path):
  """Returns the content of a JSON file; CheckpointError where it is none."""
  if path.stat().st_size > MAX_HEADER_BYTES:
    raise CheckpointError(f'{path}: {path.stat().st_size:,} bytes are too many.')
  return parse_json(path.read_bytes(), path)


def parse_json(content, path):
  """Returns the JSON value of bytes; CheckpointError for none, and for double names."""

  def unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
      names = [name for name, _ in pairs]
      twice = next(name for name in found if names.count(name) > 1)
      raise CheckpointError(f'{path}: names {twice!r} twice.')
    return found

  try:
    return json.loads(content.decode('utf-8'), object_pairs_hook=unique)
  except (ValueError, RecursionError) as error:
    if isinstance(error, CheckpointError):
      raise
    raise CheckpointError(
      f'{path}: is no JSON ({type(error).__name__}: {error}); copy it again.'
    ) from error


def _listed(problems, most=20):
  rest = len(problems) - most
  lines = [*problems[:most], *([f'... and {rest} more'] if rest > 0 else [])]
  return '\n  '.join(['', *lines])
