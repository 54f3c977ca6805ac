"""The kernels of `gpt_jax.attention` side by side, causal, at several lengths.

FLOPs are counted as in FlashAttention's benchmarks (arXiv:2205.14135): half of the
square, two matmuls forward and five backward, whatever a kernel really computes.
"""

import functools

import jax
import jax.numpy as jnp

from gpt_jax import attention
from gpt_jax.attention import masks
from gpt_jax.benchmarks import timing
from gpt_jax.core.errors import ConfigError

BACKWARD = 2.5  # FLOPs of the backward pass over those of the forward pass
SHORTEST = 16
PASSES = ('forward', 'both')


def cases(workload):
  """Returns all kernels at half, once and twice `data.seq_len`, heads of the model."""
  model, T = workload.config.model, workload.config.data.seq_len
  return sweep(
    [length for length in (T // 2, T, 2 * T) if length >= SHORTEST],
    heads=model.num_heads,
    kv_heads=model.num_kv_heads,
    head_dim=model.head_dim,
    dtype=model.dtype,
  )


def sweep(lengths, *, heads, kv_heads, head_dim, dtype, kernels=None, passes=PASSES):
  """Returns `attention/KERNEL/T/forward` and `.../both`, with the backward pass.

  Every length has as many tokens in all as one row of the longest.
  """
  found = []
  for T in lengths:
    rows = max(lengths) // T
    shape = dict(rows=rows, T=T, heads=heads, kv_heads=kv_heads, head_dim=head_dim)
    for name in kernels or attention.KERNELS:
      found += [_case(name, each, dtype, **shape) for each in passes]
  return found


def causal_flops(rows, T, heads, head_dim, passes):
  """Returns the FLOPs of causal attention, `passes` being 'forward' or 'both'."""
  forward = 4 * rows * heads * head_dim * T * T / 2
  return forward * (1 + BACKWARD) if passes == 'both' else forward


def _case(name, passes, dtype, *, rows, T, heads, kv_heads, head_dim):
  title = f'attention/{name}/{T}/{passes}'
  keys = jax.random.split(jax.random.key(0), 3)
  counts = (heads, kv_heads, kv_heads)
  inputs = [
    jax.random.normal(key, (rows, count, T, head_dim), jnp.dtype(dtype))
    for key, count in zip(keys, counts, strict=True)
  ]
  attend = functools.partial(
    attention.KERNELS[name], mask=masks.causal(), scale=head_dim**-0.5
  )

  def loss(q_BHTK, k_BGSK, v_BGSK):
    return jnp.sum(attend(q_BHTK, k_BGSK, v_BGSK).astype(jnp.float32))

  function = attend if passes == 'forward' else jax.grad(loss, argnums=(0, 1, 2))
  try:
    run, seconds, gib = timing.compiled(jax.jit(function).lower(*inputs))
  except ConfigError as error:
    return timing.Skipped(title, str(error))
  except RuntimeError as error:
    return timing.Skipped(title, timing.out_of_memory(error))
  return timing.Case(
    title,
    lambda times: timing.repeat(lambda: run(*inputs), times),
    compile_seconds=seconds,
    memory_gib=gib,
    flops=causal_flops(rows, T, heads, head_dim, passes),
  )
