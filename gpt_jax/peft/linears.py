"""The linear maps of a model, as methods that change them need them: where, what shape.

A target is a regular expression that is searched in the path of a linear map, such as
`layers/block_0/attention/query`: 'query|value', 'attention/', 'mlp/', or '' for all.
"""

import dataclasses
import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.model.gpt import GPT
from gpt_jax.model.layers import Linear

_UNROLLED = re.compile(r'^layers_\d+/')


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


def lookup_layer(entries, path):
  """Returns the entry of a path, None where there is none.

  That of all layers, `layers/...`, stands for those of unrolled ones, `layers_3/...`:
  a model that was trained by a scan over layers decodes without it.
  """
  found = entries.get(path)
  return entries.get(_UNROLLED.sub('layers/', path)) if found is None else found


def of_module(entries, module):
  """Returns `lookup_layer` of the path of a bound module."""
  return lookup_layer(entries, '/'.join(module.path))


def intercept_outputs(targets, change):
  """Returns the interceptor by which outputs of the LinearMaps `targets` change.

  `change(module, linear, x, y) -> y`, before the bias: of a bound Linear, its LinearMap
  (that of all layers, where a scan has trained them), its input and its product.
  """
  by_path = {linear.path: linear for linear in targets}

  def intercept(call, args, kwargs, context):
    module = context.module
    if not isinstance(module, Linear) or context.method_name != 'finish':
      return call(*args, **kwargs)
    linear = of_module(by_path, module)
    if linear is None:
      return call(*args, **kwargs)
    x, y = args
    return call(x, change(module, linear, x, y))

  return intercept


@functools.lru_cache(maxsize=32)  # it traces the model
def find(cfg):
  """Returns the LinearMaps of the blocks of a ModelConfig, in the order of use."""
  seen = {}

  def record(call, args, kwargs, context):
    module = context.module
    if isinstance(module, Linear) and context.method_name == 'matmul_kernel':
      seen['/'.join(module.path)] = module.spec.letters, module.has_bias
    return call(*args, **kwargs)

  model, tokens_BT = GPT(cfg), jnp.zeros((1, 1), jnp.int32)
  with nn.intercept_methods(record):
    variables = jax.eval_shape(model.init, jax.random.key(0), tokens_BT)
  params = nn.meta.unbox(variables['params'])
  shapes = dict(pytree.named_leaves(params))
  axes = dict(pytree.named_leaves(nn.get_partition_spec(variables['params'])))
  found = []
  for path, (letters, has_bias) in seen.items():
    shape, names = shapes[f'{path}/kernel'].shape, tuple(axes[f'{path}/kernel'])
    names += (None,) * (len(shape) - len(names))
    found.append(LinearMap(path, letters, shape, names, has_bias))
  return tuple(found)


def choose(cfg, pattern, field):
  """Returns the LinearMaps that `pattern` matches; ConfigError where there is none."""
  linears = find(cfg)
  try:
    found = [linear for linear in linears if re.search(pattern, linear.path)]
  except re.error as error:
    raise ConfigError(
      f'{field}={pattern!r}: expected a regular expression ({error}).'
    ) from error
  if found:
    return found
  last = dict.fromkeys(linear.path.rpartition('/')[2] for linear in linears)
  if ',' in pattern:
    raise ConfigError(
      f'{field}={pattern!r}: matches no linear map of the model; expected one regular'
      f' expression: several are {"|".join(p.strip() for p in pattern.split(","))!r}.'
    )
  hint = nearest(pattern, list(last)) or nearest(pattern, [e.path for e in linears])
  raise ConfigError(
    f'{field}={pattern!r}: matches no linear map of the model; there are'
    f' {", ".join(last)}' + (f'; the nearest is {hint!r}.' if hint else '.')
  )
