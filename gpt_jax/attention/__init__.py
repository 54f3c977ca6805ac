"""Attention as pure functions: masks, positions, cache, and one file per kernel.

A kernel is `attend(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap, dropout) ->
out_BHTK`. It does exactly what is asked or raises ConfigError saying what it cannot do.
What a remat policy may save, its output above all, it calls `attended`
(`jax.ad_checkpoint.checkpoint_name`). Kernels that place themselves on a mesh take one
more argument, `rules`.
"""

import functools

import jax

from gpt_jax.attention import blockwise, dense, fused, ring, splash
from gpt_jax.core.registry import lookup

KERNELS = {
  'blockwise': blockwise.attend,
  'dense': dense.attend,
  'fused': fused.attend,
}

SHARDED_KERNELS = {
  'ring': ring.attend,
  'splash': splash.attend,
}
"""Kernels for training, whose `attend` takes `rules` as well."""

BLOCKWISE_FROM = 512
"""Tokens from which on blocks pay everywhere, forward and backward together.

Against the dense kernel, 12 heads of 64 in bfloat16 (experiments/LOG.md): on a loaded
CPU 0.52 of the time at 512 tokens, 0.39 at 1024 and 0.21 at 2048; 0.49 of the cycles of
a TPU v5e at 1024. At 256 the two are level within the noise.
"""


def choose_kernel(
  name,
  *,
  seq_len,
  head_dim=64,
  softcap=0.0,
  dropout=0.0,
  position='rope',
  prefix=False,
  rules=None,
):
  """Returns `(resolved name, attend)`; `'auto'` is decided here, once, for good.

  Auto takes, in this order: the dense kernel where scores are dropped; the ring where
  rows lie on several devices, since any other would fetch all keys to each of them;
  splash on TPUs and the fused kernel on GPUs for the models they can do; the blockwise
  one for rows of BLOCKWISE_FROM tokens or more; else the dense one.

  Args:
    prefix: whether masks show a prefix to all queries.
    rules: where arrays live on a mesh (parallel.sharding.ShardingRules). None where there is no
      training step (decoding): then a name of SHARDED_KERNELS is taken for `'auto'`.
  """
  if name in SHARDED_KERNELS and rules is None:
    name = 'auto'
  if name == 'auto':
    name = _choose(seq_len, head_dim, softcap, dropout, position, prefix, rules)
  if name == 'ring':
    ring.check_length(seq_len, rules)
  if name in SHARDED_KERNELS:
    return name, functools.partial(SHARDED_KERNELS[name], rules=rules)
  return name, lookup(KERNELS | SHARDED_KERNELS, name, 'attention.kernel')


def _choose(seq_len, head_dim, softcap, dropout, position, prefix, rules):
  if dropout:
    return 'dense'
  if rules is not None and rules.num_shards('time') > 1:
    return 'ring'
  if rules is None:
    platform = jax.default_backend()
  else:  # absent devices are planned for too
    platform = rules.mesh.devices.flat[0].platform
  has_bias = position == 'alibi'
  fills = splash.can_take(seq_len, head_dim)
  if platform == 'tpu' and rules is not None and fills and not (has_bias or prefix):
    return 'splash'
  if platform == 'gpu' and not has_bias and not softcap:
    return 'fused'
  return 'blockwise' if seq_len >= BLOCKWISE_FROM else 'dense'
