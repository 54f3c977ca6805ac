"""The model of attention kernels: shapes and masks in, time out."""

import dataclasses
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.hlo import costs, types
from gpt_jax.parallel import chips
from gpt_jax.planning import kernel_model, topologies

V5E = chips.TPUS['v5e']
BLOCKS = dict(
  block_q=512, block_kv=512, block_q_dkv=512, block_kv_dkv=512, block_q_dq=512,
  block_kv_dq=512, q_layout=1, k_layout=1, v_layout=1,
)  # fmt: skip


def kernel(phase='fwd', heads=12, rows=8, length=1024, width=64, fused=False, **more):
  queries = ('bf16', (rows, heads, length, width))
  mask = ('s8', (1, 2, 2))
  result = ('bf16', (rows, 2, heads, length, width)) if fused else queries
  settings = json.dumps(BLOCKS | more)
  return types.Kernel(
    name=f'splash_mha_{phase}_no_residuals.1',
    op_name='jit(f)/layers/block_1/attention/pallas_call',
    operands=(mask, mask, queries, queries, queries),
    results=(queries, result),
    metadata=json.dumps(settings)[1:-1],  # as the text quotes it
    declared_flops=0,
    hbm_bytes=0,
  )


def ms(call, chip=V5E, calls=12, **settings):
  work = kernel_model.work(call, chip, causal=True, **settings)
  return 1e3 * calls * work.seconds


def test_the_model_gives_the_times_it_is_fitted_to():
  assert ms(kernel('fwd')) == pytest.approx(3.7, rel=0.02)
  assert ms(kernel('dkv', fused=True)) == pytest.approx(9.3, rel=0.02)
  split = ms(kernel('dq')) + ms(kernel('dkv'))
  assert split == pytest.approx(13.0, rel=0.02)


def test_narrow_heads_cost_as_much_as_full_lanes():
  assert ms(kernel(width=64)) == pytest.approx(ms(kernel(width=128)))
  assert ms(kernel(width=256)) > ms(kernel(width=128))
  v6e = chips.TPUS['v6e']
  assert ms(kernel(width=128), v6e) == pytest.approx(ms(kernel(width=256), v6e))


def test_time_grows_with_visible_blocks():
  # Of 2 x 2 blocks 3 are visible, of 8 x 8 they are 36.
  assert ms(kernel(length=4096)) / ms(kernel(length=1024)) == pytest.approx(36 / 3)
  window = ms(kernel(length=4096), window_of=lambda op_name: 512)
  assert window / ms(kernel(length=4096)) == pytest.approx(15 / 36)


def test_the_window_is_looked_up_by_op_name():
  looked_up = []
  ms(kernel(), window_of=looked_up.append)
  assert looked_up == ['jit(f)/layers/block_1/attention/pallas_call']


def test_memory_bound_kernels_take_the_time_of_their_bytes():
  heavy = dataclasses.replace(kernel(), hbm_bytes=10**12)
  assert ms(heavy, calls=1) >= 1e3 * 10**12 / V5E.hbm_bandwidth


def test_unknown_kernels_have_no_model():
  other = dataclasses.replace(kernel(), name='my_kernel.1')
  assert kernel_model.work(other, V5E, causal=True) is None
  silent = dataclasses.replace(kernel(), metadata='')
  assert kernel_model.work(silent, V5E, causal=True) is None


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('window', [None, 1, 3, 5, 100])
@pytest.mark.parametrize('blocks', [(4, 4), (2, 6), (6, 2)])
def test_visible_blocks_are_those_of_the_full_mask(causal, window, blocks):
  size, (block_q, block_k) = 24, blocks
  row, column = np.indices((size, size))
  allowed = np.ones((size, size), bool)
  if causal:
    allowed &= column <= row
  if window is not None:
    allowed &= np.abs(row - column) < window
  tiles = allowed.reshape(size // block_q, block_q, size // block_k, block_k)
  expected = int(tiles.any((1, 3)).sum())
  found = kernel_model.visible_blocks(
    size, size, block_q, block_k, causal=causal, window=window
  )
  assert found == expected


def test_sharded_queries_cost_their_share():
  full = kernel(length=4096)
  sharded = dataclasses.replace(
    full,
    operands=(*full.operands[:2], ('bf16', (8, 12, 1024, 64)), *full.operands[3:]),
  )
  assert ms(sharded) == pytest.approx(ms(full) / 4)


@pytest.mark.extra
@pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="needs libtpu: pip install -e '.[plan]'",
)
@pytest.mark.parametrize('fused', [True, False])
def test_compiled_splash_attention_is_recognized(fused):
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as splash,
  )
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as masks,
  )

  length, size = 512, 128
  names = ['block_q', 'block_kv', 'block_kv_compute', 'block_q_dkv', 'block_kv_dkv']
  names += ['block_kv_dkv_compute'] + ([] if fused else ['block_q_dq', 'block_kv_dq'])
  attend = splash.make_splash_mha(
    masks.MultiHeadMask([masks.CausalMask((length, length))] * 2),
    head_shards=1,
    q_seq_shards=1,
    block_sizes=splash.BlockSizes(
      **dict.fromkeys(names, size), use_fused_bwd_kernel=fused
    ),
  )
  device = topologies.parse('v5e:1x1').devices[0]
  shape = jax.ShapeDtypeStruct(
    (3, 2, length, 64), jnp.bfloat16, sharding=jax.sharding.SingleDeviceSharding(device)
  )
  gradients = jax.grad(lambda *qkv: jax.vmap(attend)(*qkv).sum(), (0, 1, 2))
  text = jax.jit(gradients).lower(shape, shape, shape).compile().as_text()
  works = [
    kernel_model.work(call, V5E, causal=True) for call, _ in costs.measure(text).kernels
  ]
  backward = ['all gradients'] if fused else ['dkv', 'dq']
  assert sorted(work.phase for work in works) == sorted(['forward', *backward])
  scores = 3 * 2 * 10 * size**2  # 10 of 16 blocks are visible
  (forward,) = (work for work in works if work.phase == 'forward')
  assert forward.flops == 2 * 2 * scores * 64
