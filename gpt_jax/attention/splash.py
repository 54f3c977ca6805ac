"""Attention by splash, jax's Pallas kernel for TPUs: blocks stay in fast memory.

Hidden blocks are skipped; keys and values of a group are not repeated.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel.sharding import ShardingRules, activation_axes

LANES = 128  # width of a TPU's vector registers: the unit of blocks

# Tokens of a block at most: its scores in float32 are 1 MiB of fast memory.
BLOCK = 512

# Keys of a block of the backward kernel at most. Each block writes partial sums of the
# queries' gradients: with two blocks their sum alone took 6 % of a GPT-2 124M step on a
# TPU v5e. Matmuls still have the size of BLOCK; that some hidden ones are not skipped
# costs less (docs/performance.md).
GRADIENT_BLOCK = 2048


def attend(
  q_BHTK,
  k_BGSK,
  v_BGSK,
  mask,
  *,
  scale,
  softcap=0.0,
  dropout=None,
  rules: ShardingRules | None = None,
):
  """Returns attention's output as `dense.attend` does.

  Raises ConfigError for dropout, ALiBi, prefixes, a cache, GPUs, sharded time and rows
  that do not fill blocks. On CPUs the kernel is interpreted: for tests, slow.
  """
  T, S = q_BHTK.shape[2], k_BGSK.shape[2]
  refusal = _refusal(T, S, mask, dropout, rules)
  if refusal:
    raise ConfigError(f'{refusal[0]}: the splash kernel {refusal[1]}')
  # In the queries' own dtype: through float32 it is another pass over them on TPUs, 4 %
  # of a GPT-2 124M step. Exact for powers of two, as for heads of 64.
  q_BHTK = q_BHTK * jnp.asarray(scale, q_BHTK.dtype)
  run = functools.partial(
    _run, mask=mask, softcap=softcap, interpret=_platform(rules) != 'tpu'
  )
  operands = (q_BHTK, k_BGSK, v_BGSK)
  names = [activation_axes(letters) for letters in ('BHTK', 'BGTK', 'BGTK')]
  if mask.segments_BT is not None:
    operands += (mask.segments_BT, mask.key_segments_BS)
    names += [activation_axes('BT')] * 2
  if rules is None:
    return mask.zero_blind(run(*operands), S)
  specs = tuple(map(rules.spec, names))
  specs = tuple(
    PartitionSpec(None, *spec[1:]) if len(array) == 1 else spec  # one row for all
    for array, spec in zip(operands, specs, strict=True)
  )
  # The kernel's results do not say along which mesh axes they vary.
  out_BHTK = jax.shard_map(
    run, mesh=rules.mesh, in_specs=specs, out_specs=specs[0], check_vma=False
  )(*operands)
  # To the kernel padding is a segment like any other, which sees itself.
  return mask.zero_blind(out_BHTK, S)


def can_take(seq_len, head_dim):
  """Returns whether rows of `seq_len` tokens fill blocks, and heads half the lanes."""
  # It takes smaller heads too, at the price of large ones: with heads of 32 on a v5e
  # and 40 on a v6e the blockwise kernel plans faster (docs/performance.md).
  return seq_len % LANES == 0 and head_dim >= LANES // 2


def _refusal(T, S, mask, dropout, rules):
  """Returns (field, why it cannot and what to use instead), or None."""
  use = 'use attention.kernel="{}".'.format
  if dropout is not None:
    return 'model.attention_dropout', 'cannot drop scores; ' + use('dense')
  if mask.slopes_H is not None:
    return 'model.position="alibi"', 'has no biases; ' + use('blockwise')
  if mask.prefix_B is not None:
    return 'objective.name', 'cannot show a prefix to all; ' + use('blockwise')
  if mask.num_virtual:
    return 'peft.name', 'has no virtual keys; ' + use('dense')
  if mask.query_start_B is not None:
    return 'a cache', 'does not decode; ' + use('blockwise')
  if T % LANES or S % LANES:
    why = f'splits rows of {T} queries and {S} keys into blocks of {LANES}; '
    return 'data.seq_len', why + use('blockwise')
  if rules is not None and rules.num_shards('time') > 1:
    return 'parallel.preset', 'needs whole rows on each device; ' + use('ring')
  if _platform(rules) not in ('tpu', 'cpu'):
    return 'attention.kernel="splash"', 'runs on TPUs; ' + use('fused')
  return None


def _platform(rules):
  if rules is None:
    return jax.default_backend()
  return rules.mesh.devices.flat[0].platform


def _run(
  q_BHTK, k_BGSK, v_BGSK, queries_BT=None, keys_BS=None, *, mask, softcap, interpret
):
  # Pallas, that commands without this kernel need not wait for.
  from jax.experimental.pallas.ops.tpu import splash_attention as pallas_splash

  H, T = q_BHTK.shape[1:3]
  S = k_BGSK.shape[2]
  query_size, key_size = _block(T, BLOCK), _block(S, BLOCK)
  kernel = pallas_splash.make_splash_mha(
    pallas_splash.MultiHeadMask([_splash_mask(mask, T, S)] * H),
    head_shards=1,
    q_seq_shards=1,
    block_sizes=pallas_splash.BlockSizes(
      block_q=query_size,
      block_kv=key_size,
      block_kv_compute=key_size,
      block_q_dkv=query_size,
      block_kv_dkv=_block(S, GRADIENT_BLOCK),
      block_kv_dkv_compute=key_size,
      use_fused_bwd_kernel=True,
    ),
    attn_logits_soft_cap=softcap or None,
    # A remat policy that saves it spares the second forward pass.
    residual_checkpoint_name='attended',
    interpret=interpret,
  )
  if queries_BT is None or keys_BS is None:
    return jax.vmap(kernel)(q_BHTK, k_BGSK, v_BGSK)
  segments = pallas_splash.SegmentIds(queries_BT, keys_BS)
  return jax.vmap(kernel)(q_BHTK, k_BGSK, v_BGSK, segments)


def _block(length, largest):
  """Returns the largest divisor of `length` in whole lanes, up to `largest`."""
  sizes = range(largest, 0, -LANES)
  return next(size for size in sizes if length % size == 0)


def _splash_mask(mask, T, S):
  """Returns the kernel's mask of those parts of `mask` that are known while tracing."""
  from jax.experimental.pallas.ops.tpu import splash_attention as pallas_splash

  if mask.window is not None:
    past = mask.window - 1
    return pallas_splash.LocalMask((T, S), (past, 0 if mask.causal else past), 0)
  kind = pallas_splash.CausalMask if mask.causal else pallas_splash.FullMask
  return kind((T, S))
