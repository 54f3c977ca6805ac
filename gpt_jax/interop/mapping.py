"""Which tensor of a family holds which parameters of ours, and in which order of axes.

An Entry reads like an einsum: `'D (P H K)' -> 'D H K'` says that a tensor of two axes
is three parameters side by side, P counting them, each [D, H, K]. That gives shapes to
check and both directions. Letters are those of `core.types`, and M positions, C types
of tokens, O outputs of a task head, E the width of the stream once more.
"""

import dataclasses
import math
import re

import numpy as np

from gpt_jax.config.schema import parse_layer

CHUNK_BYTES = 1 << 24  # of a tensor that are read at a time


@dataclasses.dataclass(frozen=True)
class Entry:
  """One tensor of theirs and the parameters of ours that it holds."""

  theirs: str
  ours: tuple[str, ...]  # names of unrolled layers; several are the axis P
  their_axes: str
  our_axes: str
  # Names that may hold the same values again, as a tied output layer does. They are
  # compared when read, and not written.
  aliases: tuple[str, ...] = ()
  # Names under which some files have the tensor.
  other_names: tuple[str, ...] = ()

  def letters(self):
    """Returns the letters of their axes, in order."""
    return re.sub(r'[() ]', '', self.their_axes)

  def their_shape(self, sizes):
    """Returns the shape of the tensor for `sizes` of letters."""
    groups = re.findall(r'\(([^)]*)\)|(\w)', self.their_axes)
    sizes = sizes | {'P': len(self.ours)}
    return tuple(
      math.prod(sizes[letter] for letter in (many.split() if many else [one]))
      for many, one in groups
    )

  def our_shape(self, sizes):
    """Returns the shape of each of the parameters."""
    return tuple(sizes[letter] for letter in self.our_axes.split())

  def view(self, array):
    """Returns an array of ours as it lies in the tensor; a view, no copy.

    It has the axes of `letters`, without P.
    """
    ours = self.our_axes.split()
    return array.transpose([ours.index(one) for one in self.letters() if one != 'P'])

  def fill(self, array, place, sizes, read):
    """Writes what is at `place` on P into `array` of ours, some rows at a time.

    `read(start, stop)` returns those elements of the tensor, flat.
    """
    view, shape = self.view(array), self._flat_shape(sizes)
    axis, row = self.letters().find('P'), math.prod(shape[1:])
    if axis == 0:
      part = read(place * row, (place + 1) * row)
      view[...] = part.reshape(shape[1:])
      return
    step = max(1, CHUNK_BYTES // (row * array.itemsize))
    for start in range(0, shape[0], step):
      stop = min(start + step, shape[0])
      part = read(start * row, stop * row).reshape(stop - start, *shape[1:])
      view[start:stop] = part if axis < 0 else part.take(place, axis)

  def gather(self, arrays, sizes):
    """Yields the tensor made of `arrays` of ours, flat, some rows at a time."""
    views, shape = [self.view(array) for array in arrays], self._flat_shape(sizes)
    axis, row = self.letters().find('P'), math.prod(shape[1:])
    if axis == 0:
      for view in views:
        yield np.ascontiguousarray(view).reshape(-1)
      return
    step = max(1, CHUNK_BYTES // (row * arrays[0].itemsize))
    for start in range(0, shape[0], step):
      parts = [view[start : start + step] for view in views]
      whole = parts[0] if axis < 0 else np.stack(parts, axis)
      yield np.ascontiguousarray(whole).reshape(-1)

  def _flat_shape(self, sizes):
    sizes = sizes | {'P': len(self.ours)}
    return tuple(sizes[letter] for letter in self.letters())


def sizes_of(config, outputs=0):
  """Returns {letter: size} of a Config; O are the outputs of its task head."""
  cfg = config.model
  return dict(
    V=cfg.vocab_size, D=cfg.d_model, F=cfg.d_ff, H=cfg.num_heads, G=cfg.num_kv_heads,
    K=cfg.head_dim, M=cfg.max_seq_len, C=cfg.token_types, O=outputs, E=cfg.d_model,
  )  # fmt: skip


def layer_names(cfg):
  """Returns the name of each layer of a ModelConfig, unrolled: `layers_0/block_1`."""
  width = len(cfg.layer_pattern)
  return [f'layers_{i // width}/block_{i % width}' for i in range(cfg.num_layers)]


def windows(cfg):
  """Returns the window of each layer of a ModelConfig, None where it sees all."""
  pattern = [parse_layer(layer) for layer in cfg.layer_pattern]
  return [pattern[i % len(pattern)] for i in range(cfg.num_layers)]


def pattern_of(windows):
  """Returns the shortest `model.layer_pattern` of the windows of all layers."""
  layers = ['global' if width is None else f'local:{width}' for width in windows]
  for length in range(1, len(layers) + 1):
    if len(layers) % length == 0:
      pattern = layers[:length]
      if pattern * (len(layers) // length) == layers:
        return tuple(pattern)
  return tuple(layers)


def linear(ours, theirs, their_axes, our_axes, has_bias):
  """Returns the entries of a linear layer: `weight` [out, in], `bias` if it has one.

  Names are those of the modules. `their_axes`: the axes of the weight, such as
  '(H K) D'; the bias has the first of them.
  """
  entries = [Entry(f'{theirs}.weight', (f'{ours}/kernel',), their_axes, our_axes)]
  if has_bias:
    out, *_ = re.findall(r'\([^)]*\)|\w', their_axes)
    entries.append(Entry(f'{theirs}.bias', (f'{ours}/bias',), out, out.strip('()')))
  return entries


def norm(ours, theirs, axis='D', has_bias=False):
  """Returns the entries of a norm: `weight`, and `bias` if it has one."""
  entries = [Entry(f'{theirs}.weight', (f'{ours}/scale',), axis, axis)]
  if has_bias:
    entries.append(Entry(f'{theirs}.bias', (f'{ours}/bias',), axis, axis))
  return entries
