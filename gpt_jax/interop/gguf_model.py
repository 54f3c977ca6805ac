"""A GGUF file as the folder of a family: config.json, tensors by their names there."""

import math

import numpy as np

from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import gguf_names
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.gguf_configs import Source
from gpt_jax.interop.gguf_file import PLAIN, GGUFFile
from gpt_jax.interop.safetensors_files import Spec

EMBEDDING, OUTPUT = 'token_embd.weight', 'output.weight'
_NOTHING = '', np.zeros(0, np.float32)


class GGUFTensors:
  """The tensors of a GGUF file by the names of its family, as SafetensorsFiles gives.

  `config` is the content that the family's config.json has.
  """

  def __init__(self, path):
    """Raises CheckpointError for what is damaged or not supported."""
    self.file = GGUFFile(path)
    self.path = self.file.path
    try:
      self._open()
    except BaseException:
      self.close()
      raise

  def _open(self):
    name = self.file.fields.get('general.architecture')
    if not isinstance(name, str):
      raise CheckpointError(
        f'{self.path}: has no general.architecture; it is not the file of a model.'
      )
    architecture = gguf_names.find(name, self.path)
    if EMBEDDING not in self.file.tensors:
      raise CheckpointError(
        f'{self.path}: has no tensor {EMBEDDING}; it is a part of a model. Join its'
        ' parts with llama-gguf-split --merge.'
      )
    is_tied = OUTPUT not in self.file.tensors or self.file.is_copy(EMBEDDING, OUTPUT)
    self.config = self._read_config(name, architecture, is_tied)
    self.specs, self._sources, self._last = {}, {}, _NOTHING
    for place in self.file.tensors.values():
      if place.name in architecture.used:
        continue
      theirs, change = gguf_names.their_name(architecture, place.name) or (
        place.name,  # a part that such a model does not have: whoever matches, says so
        None,
      )
      shape = change.shape(place.shape) if change else place.shape
      self.specs[theirs] = Spec(shape, place.kind, self.path)
      self._sources[theirs] = (place.name, change)

  def _read_config(self, name, architecture, is_tied):
    own = {
      key.removeprefix(f'{name}.'): value
      for key, value in self.file.fields.items()
      if key.startswith(f'{name}.')
    }
    fields = Fields(own, f'{self.path}, fields of {name}')
    source = Source(
      fields=fields,
      shapes={place.name: place.shape for place in self.file.tensors.values()},
      read=self.file.read,
      is_tied=is_tied,
    )
    config = architecture.config(source)
    fields.finish()
    return config

  def close(self):
    self.file.close()

  def dtype_of(self, name):
    """Returns the numpy dtype of a tensor, float32 for a packed one."""
    return np.dtype(PLAIN.get(self.specs[name].dtype, np.float32))

  def read(self, name, start, stop):
    """Returns the elements `start` to `stop` of a tensor, flat, as float32."""
    source, change = self._sources[name]
    if change is None:
      return self.file.read(source, start, stop)
    if self._last[0] != name:  # asked for in parts, and changed as a whole
      place = self.file.tensors[source]
      array = change.undo(self.file.read(source).reshape(place.shape), self.config)
      self._last = name, np.ascontiguousarray(array).reshape(-1)
    part = self._last[1][start:stop]
    if stop == math.prod(self.specs[name].shape):
      self._last = _NOTHING
    return part
