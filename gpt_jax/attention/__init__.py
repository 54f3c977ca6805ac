"""Attention as pure functions: masks as data, and one file per kernel.

Read `masks` and `dense` (the definition) first. A new kernel is a file and a line in
KERNELS: `attend(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap, dropout) -> out_BHTK`.
It does exactly what is asked or raises ConfigError; what remat may save, its output
above all, it names 'attended' (`jax.ad_checkpoint.checkpoint_name`).
"""

import functools
import math

import jax

from gpt_jax.attention import blockwise, dense, fused, ring, splash
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.core.registry import lookup
from gpt_jax.core.sections import NoOptions

KERNELS = {
  'blockwise': blockwise.attend,
  'dense': dense.attend,
  'fused': fused.attend,
}

# Kernels that place themselves on a mesh: their `attend` takes `rules` as well.
SHARDED_KERNELS = {
  'ring': ring.attend,
  'splash': splash.attend,
}

# Kernel -> what its `attend` refuses; kernels that are not here do everything.
CANNOT = {
  'blockwise': ('dropout',),
  'fused': ('softcap', 'dropout'),
  'ring': ('dropout',),
  'splash': ('dropout',),
}

# Kernels that cannot do `Mask.num_virtual`.
NO_VIRTUAL = ('ring', 'splash')

# Tokens from which on the blockwise kernel is faster, forward and backward. Against the
# dense kernel, 12 heads of 64 in bfloat16 (experiments/LOG.md): on a loaded CPU 0.52 of
# the time at 512 tokens, 0.39 at 1024 and 0.21 at 2048; 0.49 of the cycles of a TPU v5e
# at 1024. At 256 the two are level within the noise.
BLOCKWISE_FROM = 512


def problems(config):
  """Returns the Problems of a Config that asks its kernel for what it cannot do."""
  model, kernel = config.model, config.attention.kernel
  dropout = model.attention_dropout
  asked = {
    'softcap': ('attention.softcap', config.attention.softcap),
    'dropout': (
      'model.attention_dropout',
      model.dropout if dropout is None else dropout,
    ),
  }
  text = f'the {kernel} kernel cannot do it; use attention.kernel="dense" or 0'
  return [
    Problem(field, f'={value}: {text}')
    for field, value in (asked[feature] for feature in CANNOT.get(kernel, ()))
    if value
  ]


def choose_kernel(
  config, *, has_slopes, rules=None, has_prefix=False, has_virtual=False
):
  """Returns `(kernel name, attend(q_BHTK, k_BGSK, v_BGSK, mask, dropout=None))`.

  `rules` None means decoding: nothing is dropped, and a name of SHARDED_KERNELS counts
  as 'auto'. `has_slopes`: whether the position encoding biases scores, as ALiBi does;
  `has_prefix`: whether masks show a prefix to all queries; `has_virtual`: whether they
  have virtual keys, which the kernels of NO_VIRTUAL refuse.
  """
  name = config.attention.kernel
  if name in SHARDED_KERNELS and rules is None:
    name = 'auto'
  if name == 'auto':
    name = _choose(config, rules, has_prefix, has_slopes, has_virtual)
  if has_virtual and name in NO_VIRTUAL:
    raise ConfigError(
      f'attention.kernel={name!r}: this kernel cannot do the virtual keys of'
      f' peft.name={config.peft.name!r}; use attention.kernel="dense", or "blockwise"'
      ' for long rows.'
    )
  if name == 'ring':
    ring.check_length(config.data.seq_len, rules)
  kernel = lookup(KERNELS | SHARDED_KERNELS, name, 'attention.kernel')
  if name in SHARDED_KERNELS:
    kernel = functools.partial(kernel, rules=rules)
  if config.attention.options != NoOptions():
    kernel = functools.partial(kernel, options=config.attention.options)
  return name, bind(kernel, config.model, config.attention)


def bind(kernel, cfg, attention=None):
  """Returns `kernel` with the scale and soft-cap of a ModelConfig and AttentionConfig.

  The scale is 1/sqrt(K) unless set, under muP 1/K (arXiv:2203.03466, definition 4.1).
  """
  scale = attention and attention.scale
  if scale is None:
    scale = 1 / cfg.head_dim if cfg.init == 'mup' else 1 / math.sqrt(cfg.head_dim)
  softcap = attention.softcap if attention else 0.0
  return functools.partial(kernel, scale=scale, softcap=softcap)


def scale_and_softcap(attend):
  """Returns the scale and the soft-cap (0: none) that `bind` gave to `attend`."""
  return attend.keywords['scale'], attend.keywords['softcap']


def _choose(config, rules, has_prefix, has_slopes, has_virtual):
  model, seq_len = config.model, config.data.seq_len
  if rules is None:
    platform = jax.default_backend()
  else:  # absent devices are planned for too
    platform = rules.mesh.devices.flat[0].platform
    if model.attention_dropout:
      return 'dense'
    # Any other kernel would gather all keys on each device.
    if rules.num_shards('time') > 1 and not has_virtual:
      return 'ring'
  if (
    platform == 'tpu'
    and rules is not None
    and splash.can_take(seq_len, model.head_dim)
    and not (has_slopes or has_prefix or has_virtual)
  ):
    return 'splash'
  if platform == 'gpu' and not has_slopes and not config.attention.softcap:
    return 'fused'
  return 'blockwise' if seq_len >= BLOCKWISE_FROM else 'dense'
