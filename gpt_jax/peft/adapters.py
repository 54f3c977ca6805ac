"""Bottleneck adapters: two small layers with a nonlinearity between, in each block.

  y' = y + s (f(x W_down + b_down) W_up + b_up)

x is y itself, the output of the sublayer, or in parallel the input of the sublayer:
arXiv:1902.00751 (section 2.1), arXiv:2005.00247, arXiv:2110.04366 (section 3.3). Norms,
dropout and the residual add of the block come after.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import einsum
from gpt_jax.core.registry import choose, entry
from gpt_jax.core.sections import above, at_least, one_of, rate, section
from gpt_jax.model.activations import ACTIVATIONS, is_gated
from gpt_jax.model.attention import Attention
from gpt_jax.model.layers import MLP
from gpt_jax.peft import linears
from gpt_jax.peft.adapter import Adapter, Leaf, dropped_out

DOWN, UP = 'adapter_down', 'adapter_up'
_LAST_LINEAR = {'attention': 'out', 'mlp': 'down'}


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where adapters are, and what their paper chose besides."""

  sublayers: tuple[str, ...]
  reads_input: bool  # of the sublayer; else its output
  activation: str
  scale: float
  norms: bool  # whether the norms of the model train as well


PLACEMENTS = {
  'houlsby': Placement(('attention', 'mlp'), False, 'gelu', 1.0, norms=True),
  'pfeiffer': Placement(('mlp',), False, 'relu', 1.0, norms=False),
  'parallel': Placement(('mlp',), True, 'relu', 4.0, norms=False),
}
PLAIN_ACTIVATIONS = [name for name, f in ACTIVATIONS.items() if not is_gated(f)]


@section
class AdapterOptions:
  size: int = at_least(1, default=64)  # of the layer between
  placement: str = one_of(*PLACEMENTS, default='houlsby')
  # None: those of the placement's paper.
  activation: str | None = one_of(*PLAIN_ACTIVATIONS, default=None)
  scale: float | None = above(0.0, default=None)
  norms: bool | None = None  # whether the norms of the model train as well
  dropout: float = rate(default=0.0)  # of what the adapter reads


@entry(options=AdapterOptions)
def make(config):
  """Returns the Adapter of a Config."""
  options, cfg = config.peft.options, config.model
  placement = choose(PLACEMENTS, options.placement, 'peft.options.placement')
  own = {
    name: value
    for name in ('activation', 'scale', 'norms')
    if (value := getattr(options, name)) is not None
  }
  placement = dataclasses.replace(placement, **own)
  found = {
    path: linear
    for linear in linears.find(cfg)
    for path, _, last in [linear.path.rpartition('/')]
    if any(
      path.endswith(f'/{name}') and last == _LAST_LINEAR[name]
      for name in placement.sublayers
    )
  }
  if not found:
    raise ConfigError(
      f'peft.options.placement={options.placement!r}: stands at the'
      f' {" and ".join(placement.sublayers)} of a block, which'
      f' model.block={cfg.block!r} has not; use "houlsby".'
    )
  added = {}
  for path, linear in found.items():
    added |= leaves_of(path, linear, cfg.d_model, options.size)
  return Adapter(
    name='adapters',
    added=added,
    trains=lambda name: placement.norms and '_norm/' in name,
    intercept=_intercept(found, placement, options.dropout),
  )


def leaves_of(path, linear, width, size):
  """Returns {name: Leaf} of an adapter; W_up starts at 0, so it changes nothing.

  The paper's W_up is as near to 0 as W_down, normal of 0.01 and cut at two of it.
  """
  small = jax.nn.initializers.truncated_normal(0.01)
  zeros = jax.nn.initializers.zeros
  shapes = {
    DOWN: ((width, size), ('embed', None), small),
    f'{DOWN}_bias': ((size,), (None,), zeros),
    UP: ((size, width), (None, 'embed'), zeros),
    f'{UP}_bias': ((width,), ('embed_vector',), zeros),
  }
  return {
    f'{path}/{name}': Leaf(
      (*linear.stack, *shape), (*linear.stack_axes, *axes), initializer
    )
    for name, (shape, axes, initializer) in shapes.items()
  }


def _intercept(paths, placement, dropout):
  activation = ACTIVATIONS[placement.activation]

  def intercept(call, args, kwargs, context):
    module, result = context.module, call(*args, **kwargs)
    if not isinstance(module, Attention | MLP) or context.method_name != '__call__':
      return result
    if linears.of_module(paths, module) is None:
      return result
    y_BTD, *rest = result if isinstance(result, tuple) else (result,)
    x_BTD = args[0] if placement.reads_input else y_BTD
    x_BTD = dropped_out(module, x_BTD, dropout)
    y_BTD += _bottleneck(module, activation, placement.scale, x_BTD).astype(y_BTD.dtype)
    return (y_BTD, *rest) if rest else y_BTD

  return intercept


def _bottleneck(module, activation, scale, x_BTD):
  def parameter(name):
    return module.get_variable('params', name)

  down_DR, up_RD = (parameter(name).astype(x_BTD.dtype) for name in (DOWN, UP))
  hidden_BTR = einsum('BTD,DR->BTR', x_BTD, down_DR, jnp.float32)
  hidden_BTR = activation(hidden_BTR + parameter(f'{DOWN}_bias')).astype(x_BTD.dtype)
  y_BTD = einsum('BTR,RD->BTD', hidden_BTR, up_RD, jnp.float32)
  return scale * (y_BTD + parameter(f'{UP}_bias'))
