"""Prefix tuning: trained keys and values before the text, arXiv:2101.00190.

  K, V of all layers = MLP(E),   E [P, D]      section 4.3: easier to train than K, V

There is no step 0 at which the model is still the plain one: tokens see the prefix from
the start.
"""

import functools

import jax
import jax.numpy as jnp

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import at_least, section
from gpt_jax.parallel.sharding import parameter_axes
from gpt_jax.peft import virtual_keys
from gpt_jax.peft.adapter import Adapter, Leaf

ROOT = 'prefix'
"""Of the parameters that all layers' keys and values are made from."""


@section
class PrefixOptions:
  length: int = at_least(1, default=20)  # virtual tokens
  reparametrize: bool = True  # by an MLP; False: as p_tuning_v2
  hidden: int = at_least(1, default=512)  # width of the MLP


@entry(options=PrefixOptions)
def make(config):
  """Returns the Adapter of a Config."""
  options = config.peft.options
  if options.reparametrize:
    added = _mlp(config.model, options)
    prepare = functools.partial(expand, cfg=config.model)
  else:
    added, prepare = direct_leaves(config.model, options.length), None
  return of_leaves(config, 'prefix', added, prepare)


def of_leaves(config, name, added, prepare=None):
  """Returns the Adapter whose layers have, after `prepare`, their keys and values."""
  length = config.peft.options.length
  virtual_keys.check_length(config, length)
  return Adapter(
    name=name,
    added=added,
    intercept=virtual_keys.intercept(length),
    prepare=prepare,
    num_positions=length,
    has_virtual_keys=True,
  )


def direct_leaves(cfg, length):
  """Returns {name: Leaf} of keys and values that train themselves."""
  return virtual_keys.leaves_of(cfg, length, jax.nn.initializers.normal(1.0))


def expand(params, *, cfg):
  """Returns `params` with keys and values of layers in place of the MLP's leaves."""
  if ROOT not in params:  # they are there already
    return params
  mlp = params[ROOT]
  hidden_PH = jnp.tanh(mlp['embedding'] @ mlp['hidden_kernel'] + mlp['hidden_bias'])
  # As in Hugging Face peft: a key, then a value of each layer.
  kv_PL2GK = jnp.einsum('PH,HLNGK->PLNGK', hidden_PH, mlp['out_kernel'])
  kv_L2GPK = jnp.moveaxis(kv_PL2GK + mlp['out_bias'], 0, -2)
  rest = {name: tree for name, tree in params.items() if name != ROOT}
  return virtual_keys.with_layers(rest, cfg, kv_L2GPK)


def _mlp(cfg, options):
  """Returns {name: Leaf} of the embedding and the MLP, which begin as torch's do."""
  P, D, hidden = options.length, cfg.d_model, options.hidden
  kv = (cfg.num_layers, 2, cfg.num_kv_heads, cfg.head_dim)
  kv_axes = (None, None, *parameter_axes('GK'))
  normal = jax.nn.initializers.normal(1.0)
  leaves = {
    'embedding': Leaf((P, D), (None, None), normal),
    'hidden_kernel': Leaf((D, hidden), (None, None), _uniform(D)),
    'hidden_bias': Leaf((hidden,), (None,), _uniform(D)),
    'out_kernel': Leaf((hidden, *kv), (None, *kv_axes), _uniform(hidden)),
    'out_bias': Leaf(kv, kv_axes, _uniform(hidden)),
  }
  return {f'{ROOT}/{name}': leaf for name, leaf in leaves.items()}


def _uniform(fan_in):
  bound = fan_in**-0.5
  return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
