"""Keys and values before those of the text, in each layer: what is common to methods.

Every token sees them (`Mask.num_virtual`), and they are constants of a layer: in
decoding they lie beside the cache, not in it. Tokens of the text have the positions P,
P + 1, ... after P virtual ones. As in Hugging Face peft, what is stored is what
attention reads: keys are neither rotated nor normed.
"""

import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import positions
from gpt_jax.model.attention import Attention
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.sharding import parameter_axes
from gpt_jax.peft.adapter import Leaf

KEY, VALUE = 'prefix_key', 'prefix_value'
"""Beside the kernels of an attention layer, [G, P, K] with the axis of layers."""


def check_length(config, length, field='peft.options.length'):
  """Raises ConfigError for more virtual tokens than fit before the rows of a Config."""
  lengths = {'data.seq_len': config.data.seq_len} | {
    f'eval.sets.{name}.seq_len': fields['seq_len']
    for name, fields in config.eval.sets.items()
    if 'seq_len' in fields
  }
  limit = positions.max_positions(config.model)
  for name, seq_len in lengths.items():
    if limit is not None and length + seq_len > limit:
      most = {name: limit - length, field: limit - seq_len}
      ways = [f'{one} to at most {size}' for one, size in most.items() if size > 0]
      raise ConfigError(
        f'{field}={length}: {positions.describe_end(config.model, length)}, fewer than'
        f' {name}={seq_len}; set {", or ".join(ways) or "both lower"}.'
      )
  if length >= config.data.seq_len:
    raise ConfigError(
      f'{field}={length}: expected fewer virtual tokens than those of a row,'
      f' data.seq_len={config.data.seq_len}; set {field} to at most'
      f' {config.data.seq_len - 1}, or longer rows.'
    )


def layer_paths(cfg, is_stacked):
  """Returns the path of each attention layer; where they are stacked, of each stack.

  Those of unrolled layers are in their order.
  """
  blocks = [f'block_{i}/attention' for i in range(len(cfg.layer_pattern))]
  if is_stacked:
    return [f'layers/{block}' for block in blocks]
  groups = range(cfg.num_layers // len(cfg.layer_pattern))
  return [f'layers_{group}/{block}' for group in groups for block in blocks]


def leaves_of(cfg, length, init):
  """Returns {name: Leaf} of the keys and values of a ModelConfig's layers."""
  shape = (cfg.num_kv_heads, length, cfg.head_dim)
  kv_heads, head_dim = parameter_axes('GK')
  axes = (kv_heads, None, head_dim)
  if cfg.scan_layers:
    shape = (cfg.num_layers // len(cfg.layer_pattern), *shape)
    axes = ('layers', *axes)
  return {
    f'{path}/{name}': Leaf(shape, axes, init)
    for path in layer_paths(cfg, cfg.scan_layers)
    for name in (KEY, VALUE)
  }


def with_layers(params, cfg, kv_L2GPK):
  """Returns `params`, stacked or unrolled, with keys and values of all layers."""
  is_stacked = 'layers' in params
  paths = layer_paths(cfg, is_stacked)
  leaves = dict(pytree.named_leaves(params))
  for i, path in enumerate(paths):
    # Every so many layers are the same block of a group.
    own = kv_L2GPK[i :: len(paths)] if is_stacked else kv_L2GPK[i]
    leaves[f'{path}/{KEY}'], leaves[f'{path}/{VALUE}'] = jnp.moveaxis(own, -4, 0)
  return pytree.nested(leaves)


def intercept(length, precede=False):
  """Returns the interceptor of models whose layers have keys and values as leaves.

  `precede`: as of `Mask.with_virtual`.
  """

  def run(call, args, kwargs, context):
    module, method = context.module, context.method_name
    if method == 'token_positions' and isinstance(module, GPT):
      return call(*args, **kwargs) + length
    if method != 'run_kernel' or not isinstance(module, Attention):
      return call(*args, **kwargs)
    q_BHTK, k_BGSK, v_BGSK, mask, dropout = args
    k_BGSK, v_BGSK = (
      _before(module.get_variable('params', name), x_BGSK)
      for name, x_BGSK in ((KEY, k_BGSK), (VALUE, v_BGSK))
    )
    return call(q_BHTK, k_BGSK, v_BGSK, mask.with_virtual(length, precede), dropout)

  return run


def _before(virtual_GPK, x_BGSK):
  shape_BGPK = (len(x_BGSK), *virtual_GPK.shape)
  virtual_BGPK = jnp.broadcast_to(virtual_GPK.astype(x_BGSK.dtype), shape_BGPK)
  return jnp.concatenate([virtual_BGPK, x_BGSK], axis=2)
