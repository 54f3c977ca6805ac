"""A linear map of a model, as what stores or changes its kernel needs it."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class LinearMap:
  """A linear map, or the stack of those of all layers (model.scan_layers)."""

  path: str
  letters: tuple[str, str, str]  # of the input, the kernel and the output
  shape: tuple[int, ...]  # of the kernel, the axis of layers included
  axes: tuple[str | None, ...]
  has_bias: bool

  @property
  def kernel(self):
    return f'{self.path}/kernel'

  @property
  def stack(self):
    """The axis of layers, () where layers are apart."""
    return self.shape[: len(self.shape) - len(self.letters[1])]

  @property
  def stack_axes(self):
    return self.axes[: len(self.stack)]

  @property
  def num_matrices(self):
    return math.prod(self.stack)

  @property
  def contracted(self):
    """Letters of the kernel that are summed over."""
    _, kernel, out = self.letters
    return ''.join(letter for letter in kernel if letter not in out)

  @property
  def kept(self):
    """Letters of the kernel that are in the output."""
    return ''.join(each for each in self.letters[1] if each in self.letters[2])

  def sizes(self, letters):
    """Returns the sizes of dimensions of the kernel."""
    shape = dict(zip(self.letters[1], self.shape[len(self.stack) :], strict=True))
    return tuple(shape[letter] for letter in letters)

  def axes_of(self, letters):
    """Returns the logical axes of dimensions of the kernel."""
    axes = dict(zip(self.letters[1], self.axes[len(self.stack) :], strict=True))
    return tuple(axes[letter] for letter in letters)

  @property
  def fan_in(self):
    return math.prod(self.sizes(self.contracted))

  @property
  def fan_out(self):
    return math.prod(self.sizes(self.kept))
