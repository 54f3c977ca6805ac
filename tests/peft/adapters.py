"""Random LoRA adapters of different ranks and targets over one small model."""

import functools

import jax.numpy as jnp
import numpy as np

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.model import stacking
from gpt_jax.peft import batched
from tests import small_models as small

MAX_LEN = 64
OPTIONS = {
  'wide': dict(rank=4, targets=''),
  'narrow': dict(rank=2, targets='query|value', alpha=3.0, rank_stabilized=True),
  'mixed': dict(rank=3, targets='out|mlp/', rank_pattern={'out': 1}),
}
PISSA = dict(rank=2, targets='value|mlp/', init='pissa')


def config_of(options=None, **fields):
  """Returns the Config of the small model, with a LoRA adapter of `options`."""
  if options is not None:
    fields |= {f'peft__options__{name}': value for name, value in options.items()}
    fields |= dict(peft__name='lora')
  return small.resolve(model__max_seq_len=MAX_LEN, **fields)


@functools.cache
def base(**fields):
  """Returns (Config, parameters) of the base."""
  config = config_of(**fields)
  return config, small.random_params(small.make_gpt(config))


def trained(adapter, params, seed, size=0.4):
  """Returns `{name: array}` of an adapter as after a training over `params`."""
  leaves = dict(pytree.named_leaves(params))
  made = adapter.begin(leaves) if adapter.begin else {}
  rng = np.random.default_rng(seed)
  found = {}
  for name, leaf in adapter.added.items():
    start = made.get(name, 0.0)
    moved = rng.normal(0, size, leaf.shape) if leaf.trains else 0.0
    found[name] = jnp.asarray(start + moved, leaf.dtype)
  return found


def several(options=None, **fields):
  """Returns (base Config, parameters with stacks, BatchedAdapter, {name: merged}).

  `merged` are the parameters of the plain model of each adapter.
  """
  config, params = base(**fields)
  factors, merged = {}, {}
  for seed, (name, each) in enumerate((options or OPTIONS).items()):
    adapter = peft.make_adapter(config_of(each, **fields))
    leaves = trained(adapter, params, seed)
    factors[name] = adapter.factors(leaves)
    merged[name] = peft.merge_params(adapter, peft.with_leaves(params, leaves))
  unrolled = config_of(**fields | dict(model__scan_layers=False)).model
  adapter, stacks = batched.make(unrolled, factors)
  return config, peft.with_leaves(stacking.unstack(params), stacks), adapter, merged
