"""Where the linear maps of a model are, and the shapes of their kernels."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.model.gpt import GPT
from gpt_jax.model.layers import Linear
from gpt_jax.quantization import packed
from gpt_jax.quantization.linear_map import LinearMap


@functools.lru_cache(maxsize=32)  # it traces the model
def find(cfg):
  """Returns the LinearMaps of the blocks of a ModelConfig, in the order of use."""
  seen = {}

  def record(call, args, kwargs, context):
    module = context.module
    if isinstance(module, Linear) and context.method_name == 'matmul_kernel':
      seen['/'.join(module.path)] = module.spec.letters, module.has_bias
    return call(*args, **kwargs)

  cfg = packed.in_full_model(cfg)
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
