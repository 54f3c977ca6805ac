"""A format of stored kernels: codes in place of a kernel, and parts beside it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Part:
  """An array that a stored kernel needs beside its codes."""

  shape: tuple[int, ...]
  dtype: Any
  axes: tuple[str | None, ...]  # logical, one for each dimension


@dataclasses.dataclass(frozen=True)
class Layout:
  """Dimensions of a kernel: of the stack of layers, summed over, of the output."""

  ndim: int
  num_stacked: int  # 1 where layers are scanned, else 0
  num_contracted: int

  @property
  def contracted(self):
    return tuple(range(self.num_stacked, self.num_stacked + self.num_contracted))


def exact_steps(maxima, count):
  """Returns `maxima / count`, float32, for a count of 8 bits at most.

  Rounded to 16 bits, so that multiples are exact: what was stored once has the same
  steps when it is stored again, in whatever way XLA divides.
  """
  return jax.lax.reduce_precision(maxima / count, exponent_bits=8, mantissa_bits=15)


def num_groups(fan_in, group):
  """Returns how many equal groups of about `group` weights there are, at least 1."""
  count = -(-fan_in // group)
  while fan_in % count:
    count += 1
  return count


@dataclasses.dataclass(frozen=True)
class Format:
  """How a kernel lies in memory. The codes have its shape, and a dtype of their own."""

  dtype: Any  # of the codes: no other format has it
  # (dimensions of a kernel, its parts by name) -> how many of them are summed over.
  num_contracted: Callable
  parts_of: Callable  # (LinearMap, weights of a group) -> {name: Part}
  quantize: Callable  # (kernel, Layout, number of groups) -> (codes, {name: array})
  dequantize: Callable  # (codes, {name: array}, Layout) -> the kernel, float32
