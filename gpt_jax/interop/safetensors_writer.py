"""Writes tensors of known shapes as safetensors files, in any order, part by part."""

import json
import math
import os
import struct
from typing import Any

import numpy as np

from gpt_jax.interop.safetensors_files import INDEX, ONE_FILE, TYPE_NAMES

SHARD_BYTES = 5_000_000_000  # as transformers splits them


class SafetensorsWriter:
  """Files for `shapes` {name: shape} of `dtype` in `folder`: one, or shards and index.

  The files have their full length at once; each tensor is to be written.
  """

  def __init__(self, folder, shapes, dtype, shard_bytes=SHARD_BYTES):
    self._dtype, self._handles, self._places = np.dtype(dtype), {}, {}
    size = {name: math.prod(s) * self._dtype.itemsize for name, s in shapes.items()}
    self.total_bytes = sum(size.values())
    shards = _shards(size, shard_bytes)
    weight_map = {}
    for i, names in enumerate(shards):
      file = ONE_FILE
      if len(shards) > 1:
        file = f'model-{i + 1:05}-of-{len(shards):05}.safetensors'
      weight_map |= dict.fromkeys(names, file)
      self._create(folder / file, {name: shapes[name] for name in names}, size)
    self.files = sorted(set(weight_map.values()))
    if len(shards) > 1:
      content = {'metadata': {'total_size': self.total_bytes}, 'weight_map': weight_map}
      (folder / INDEX).write_text(json.dumps(content, indent=2, sort_keys=True) + '\n')

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    for handle in self._handles.values():
      os.close(handle)

  def _create(self, path, shapes, size):
    header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
    end = 0
    for name, shape in shapes.items():
      header[name] = dict(
        dtype=TYPE_NAMES[self._dtype],
        shape=list(shape),
        data_offsets=[end, end + size[name]],
      )
      end += size[name]
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # so that the data are aligned
    self._handles[path] = handle = os.open(
      path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644
    )
    _write_at(handle, struct.pack('<Q', len(text)) + text, 0)
    start = 8 + len(text)
    os.posix_fallocate(handle, 0, start + end)
    for name in shapes:
      self._places[name] = handle, start + header[name]['data_offsets'][0]

  def write(self, name, parts):
    """Returns the bytes written of a tensor: `parts` are flat arrays in order, cast."""
    handle, start = self._places[name]
    where = start
    for part in parts:
      content = np.ascontiguousarray(part.astype(self._dtype, copy=False))
      _write_at(handle, content.view(np.uint8).data, where)
      where += content.nbytes
    return where - start

  def sync(self):
    """Returns once all is on the disk."""
    for handle in self._handles.values():
      os.fsync(handle)


def _write_at(handle, content, where):
  left = memoryview(content)
  while len(left):
    count = os.pwrite(handle, left, where)
    left, where = left[count:], where + count


def _shards(size, most):
  """Returns lists of names, in order, of at most `most` bytes each if that can be."""
  shards, used = [[]], 0
  for name, count in size.items():
    if shards[-1] and used + count > most:
      shards.append([])
      used = 0
    shards[-1].append(name)
    used += count
  return shards
