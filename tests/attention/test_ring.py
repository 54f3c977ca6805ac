"""Ring attention on eight devices: every mask, what a device computes, holds and sends.

The schedule: test_ring_schedule.py. One pair of blocks: test_online_softmax.py.
"""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.attention import dense, masks, ring
from gpt_jax.core.errors import ConfigError
from gpt_jax.hlo import costs as hlo_costs
from gpt_jax.parallel import mesh, sharding
from gpt_jax.program.build import build_program
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import small_models as small
from tests import tiny_runs
from tests.attention.test_blockwise import equations
from tests.attention.test_kernels import CASES, from_dense, out_and_grads

UNEVEN = {
  'cached, 7 queries', 'cached, prefix', 'fewer queries', 'more queries',
  'more queries than a window reaches',
}  # fmt: skip
"""7 and 23 queries divide over nothing."""

VIRTUAL = {case for case in CASES if case.startswith('virtual keys')}
"""Keys that no device has a share of: the kernel refuses them."""

QUICK = {'causal', 'prefix', 'segments in a window', 'groups with everything'}


def even_cases(*excluded):
  """Returns the cases that divide over devices, all but QUICK marked slow."""
  return [
    case if case in QUICK else pytest.param(case, marks=pytest.mark.slow)
    for case in sorted(set(CASES) - UNEVEN - VIRTUAL - set(excluded))
  ]


@functools.cache
def rules_of(preset='sequence', overrides=(), **sizes):
  """Returns the ShardingRules of a mesh of as many devices as `sizes` multiply to."""
  devices = jax.devices()[: int(np.prod(list(sizes.values())))]
  parallel = types.SimpleNamespace(preset=preset, overrides=dict(overrides))
  return sharding.make_sharding_rules(parallel, mesh.make_mesh(sizes, devices))


def on_devices(block=2, **sizes):
  return functools.partial(ring.attend, rules=rules_of(**sizes), block=block)


@pytest.mark.parametrize('case', even_cases())
def test_four_devices_equal_the_dense_kernel(case):
  got = out_and_grads(on_devices(sequence=4), case, 'float32')
  for array, expected in zip(got, from_dense(case), strict=True):
    np.testing.assert_allclose(array, expected, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize('case', even_cases('multi-query'))
def test_half_precision_beside_other_axes_costs_only_rounding(case):
  attend = on_devices(data=2, sequence=2, tensor=2)
  got = out_and_grads(attend, case, 'bfloat16')
  for array, expected in zip(got, from_dense(case), strict=True):
    error = np.linalg.norm(array.astype(np.float32) - expected)
    assert error < 0.01 * np.linalg.norm(expected)  # as in test_kernels.py


@pytest.mark.parametrize('case', ['groups with everything', 'window both sides'])
def test_in_float64_8_devices_equal_dense_to_the_last_digits(case):
  with jax.enable_x64():
    got = out_and_grads(on_devices(sequence=8, block=1), case, 'float64')
    expected = out_and_grads(dense.attend, case, 'float64')
  for array, wanted in zip(got, expected, strict=True):
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, wanted, atol=1e-13)


def test_time_may_be_sharded_over_several_mesh_axes():
  overrides = (('time', ('data', 'sequence')), ('batch', None))
  rules = rules_of('sequence', overrides, data=2, sequence=2)
  attend = functools.partial(ring.attend, rules=rules, block=2)
  for array, expected in zip(
    out_and_grads(attend, 'segments', 'float32'), from_dense('segments'), strict=True
  ):
    np.testing.assert_allclose(array, expected, atol=2e-6)


@pytest.mark.parametrize('devices', [1, 2])
def test_one_device_or_one_token_is_no_ring(devices):
  q_BHTK, k_BHSK = jnp.ones((2, 2, 8, 4)), jnp.ones((2, 2, 8, 4))
  attend = functools.partial(
    ring.attend, mask=masks.causal(), scale=1.0, rules=rules_of(sequence=devices)
  )
  ring_of_two = str(jax.make_jaxpr(attend)(q_BHTK, k_BHSK, k_BHSK))
  assert ('shard_map' in ring_of_two) == (devices == 2)
  attend.keywords['mask'] = masks.Mask(query_start_B=jnp.array([3, 5]))
  one_token = str(jax.make_jaxpr(attend)(q_BHTK[:, :, :1], k_BHSK, k_BHSK))
  assert 'shard_map' not in one_token


@functools.cache
def compiled(devices, length=4096, dtype=jnp.bfloat16):
  """Returns forward and backward pass of a row, keys shared by 2 query heads each."""
  rules = rules_of(sequence=devices)
  place = rules.sharding(('batch', 'act_heads', 'time', 'head_dim'))
  shape = functools.partial(jax.ShapeDtypeStruct, dtype=dtype, sharding=place)
  q_BHTK, k_BGSK = shape((1, 4, length, 64)), shape((1, 2, length, 64))
  program = forward_and_backward(rules, masks.causal(), block=128)
  return small.jit(program).lower(q_BHTK, k_BGSK, k_BGSK, q_BHTK).compile()


def forward_and_backward(rules, mask, block=None):
  def run(q_BHTK, k_BGSK, v_BGSK, cotangent_BHTK):
    attend = functools.partial(ring.attend, scale=1.0, rules=rules, block=block)
    out_BHTK, vjp = jax.vjp(lambda *qkv: attend(*qkv, mask), q_BHTK, k_BGSK, v_BGSK)
    return out_BHTK, *vjp(cotangent_BHTK)

  return run


@pytest.mark.slow
def test_each_device_computes_its_share_of_the_flops():
  full = hlo_costs.measure(compiled(1).as_text()).matmul_flops
  for devices in (2, 4, 8):
    costs = hlo_costs.measure(compiled(devices).as_text())
    assert costs.matmul_flops == full / devices


@pytest.mark.slow
def test_memory_falls_with_the_number_of_devices():
  """Twice the devices, half the temporary bytes, up to those of a tile of scores."""
  sizes = {
    devices: compiled(devices, 32768).memory_analysis().temp_size_in_bytes
    for devices in (2, 4, 8)
  }
  assert sizes[8] < 0.6 * sizes[4] < 0.6**2 * sizes[2]


def test_bytes_sent_are_keys_values_and_their_gradients():
  devices, share = 4, 4096 // 4
  # In float32: XLA's CPU backend sends bfloat16 as float32 anyway.
  program = compiled(devices, dtype=jnp.float32)
  costs = hlo_costs.measure(program.as_text())
  assert {c.kind for c in costs.collectives} == {'collective-permute'}
  keys = 2 * share * 64 * 4  # bytes of a device's keys, or values: 2 heads
  queries, sums = 2 * keys, 4 * share * 4
  forward = (devices - 1) * 2 * keys
  backward = forward + devices * 2 * keys  # gradients make one more step, home
  exchanged = (2 * queries + 2 * keys) + (3 * queries + sums + 4 * keys)
  # Both passes of this small program begin alike, which XLA sees and does once.
  shared = queries + 2 * keys + 2 * keys
  sent = sum(c.payload_bytes for c in costs.collectives)
  assert sent == forward + backward + exchanged - shared


def test_no_device_holds_a_full_row_or_its_scores():
  text = compiled(4).as_text()
  assert '[1,4,1024,64]' in text
  assert '4096' not in text.replace('[1,4,4096,64]', '').split('ENTRY')[0]
  assert 'all-gather' not in text and 'all-reduce' not in text


def test_keys_are_sent_before_the_matmuls():
  """In the order of the program, which is all that the compiler has to respect."""
  run = forward_and_backward(rules_of(sequence=4), masks.causal(), block=2)
  x_BHTK = jax.ShapeDtypeStruct((1, 2, 32, 4), jnp.float32)
  (forward, backward) = (
    eqn.params['jaxpr']
    for eqn, _ in equations(jax.make_jaxpr(run)(*[x_BHTK] * 4).jaxpr)
    if eqn.primitive.name == 'shard_map'
  )
  for share in (forward, backward):
    (loop,) = (
      eqn.params['jaxpr'].jaxpr
      for eqn in share.eqns
      if eqn.primitive.name == 'scan' and eqn.params['length'] == 2
    )
    names = [eqn.primitive.name for eqn in loop.eqns]
    first_loop = names.index('scan')
    assert 'ppermute' in names[:first_loop] and 'ppermute' not in names[first_loop:]


STEPS = {
  'one layer': {
    'parallel.mesh.sequence': 2, 'parallel.mesh.fsdp': 4, 'model.num_layers': 1,
    'model.scan_layers': False,
  },
  'fsdp, microbatches, prefix': {
    'parallel.mesh.sequence': 2, 'parallel.mesh.fsdp': 2, 'train.grad_accum': 2,
    'model.remat': 'names', 'objective.name': 'prefix_lm', 'model.num_layers': 1,
  },
  'tensor, local, ALiBi': {
    'parallel.mesh.sequence': 4, 'parallel.mesh.tensor': 2, 'model.remat': 'full',
    'model.num_heads': 4, 'model.num_kv_heads': 2, 'model.position': 'alibi',
    'model.layer_pattern': ('local:6', 'global'), 'attention.softcap': 3.0,
  },
}  # fmt: skip


@pytest.mark.parametrize(
  'case',
  [
    case if case == 'one layer' else pytest.param(case, marks=pytest.mark.slow)
    for case in STEPS
  ],
)
def test_a_step_equals_the_dense_kernels_on_one_device(case):
  overrides = STEPS[case]
  # eps keeps Adam from magnifying gradients that are rounding only.
  same = {'optimizer.eps': 1e-3, 'data.seq_len': 16, 'model.vocab_size': 64}
  same |= {k: v for k, v in overrides.items() if 'mesh' not in k}
  tokens = np.random.default_rng(0).integers(0, 64, (8, 17)).astype(np.int32)
  results = []
  for more, devices in (
    ({'attention.kernel': 'dense'}, 1),
    ({'parallel.preset': 'sequence'} | overrides, 8),
  ):
    config = tiny_runs.tiny_config(same | more)
    program = build_program(
      config,
      vocab=objectives.Vocab(size=64, eos_id=63),
      mesh=mesh.make_mesh(config.parallel.mesh, jax.devices()[:devices]),
    )
    assert program.attention_kernel == ('dense' if devices == 1 else 'ring')
    batch = jax.device_put({'tokens': tokens}, program.batch_sharding)
    state, metrics = program.step(program.init(0), batch)
    results.append((tiny_runs.named(state), tiny_runs.named(metrics)))
  (expected, its_metrics), (got, metrics) = results
  tiny_runs.assert_same(got, expected, atol=1e-5)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_run_with_sharded_time_trains_scores_and_samples(tmp_path):
  corpus = tmp_path / 'words.txt'
  corpus.write_text(tiny_runs.words(4000))
  losses, scores = [], []
  for name, more in (
    ('one', {'parallel.mesh.data': 8}),
    ('ring', {'parallel.preset': 'sequence', 'parallel.mesh.sequence': 4}),
  ):
    overrides = tiny_runs.TEXT | more | {
      'data.path': str(corpus),
      'train.steps': 2,
      'model.num_layers': 1,
      'model.scan_layers': False,
      'eval.every_steps': 0,
      'checkpoint.every_steps': 0,
      'logging.sample_prompts': ('some',),
      'logging.sample_tokens': 4,
    }  # fmt: skip
    config = tiny_runs.tiny_config(overrides)
    scores.append(loop.train(config, tmp_path / name, quiet=True))
    losses.append(tiny_runs.losses(tmp_path / name))
  assert losses[1] == pytest.approx(losses[0], abs=1e-5)
  assert scores[1] == pytest.approx(scores[0], rel=1e-5)
  samples = [Workdir(tmp_path / name).samples.read_text() for name in ('one', 'ring')]
  assert samples[0] == samples[1] != ''


def test_saving_its_results_spares_a_second_forward_pass():
  names = jax.checkpoint_policies.save_only_these_names('attended')

  def num_rings(policy):
    attend = functools.partial(ring.attend, rules=rules_of(sequence=2))

    @functools.partial(jax.checkpoint, policy=policy)
    def total(q_BHTK):
      out_BHTK = attend(q_BHTK, q_BHTK, q_BHTK, masks.causal(), scale=1.0)
      return jnp.sin(out_BHTK).sum()

    jaxpr = jax.make_jaxpr(jax.grad(total))(jnp.ones((1, 2, 8, 4)))
    return sum(eqn.primitive.name == 'shard_map' for eqn, _ in equations(jaxpr.jaxpr))

  assert (num_rings(names), num_rings(None)) == (2, 3)


@pytest.mark.parametrize(
  'length, heads, kv_heads, sizes, overrides, expected',
  [
    (12, 4, 4, dict(sequence=4), (), r'data\.seq_len=12: .* 8 chunks.* try 16'),
    (16, 3, 3, dict(sequence=2, tensor=2), (), r"'act_heads' dimension of 3"),
    (16, 4, 1, dict(sequence=2, tensor=2), (), r"'act_kv_heads' dimension of 1"),
    (16, 4, 1, dict(sequence=2, tensor=2), (('act_kv_heads', None),),
     r'parallel\.overrides: act_heads=.* give both the same'),
    (4 * 1031, 1, 1, dict(sequence=2), (), r'data\.seq_len=4124: .* multiple of 256'),
  ],
)  # fmt: skip
def test_shapes_that_do_not_divide_are_refused(
  length, heads, kv_heads, sizes, overrides, expected
):
  rules = rules_of('sequence', overrides, **sizes)
  shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
  q_BHTK, k_BGSK = shape((2, heads, length, 4)), shape((2, kv_heads, length, 4))
  attend = functools.partial(ring.attend, mask=masks.causal(), scale=1.0, rules=rules)
  with pytest.raises(ConfigError, match=expected):
    jax.eval_shape(attend, q_BHTK, k_BGSK, k_BGSK)


def test_dropout_is_refused_with_the_kernel_that_can():
  x_BHTK = jnp.ones((1, 1, 4, 4))
  with pytest.raises(ConfigError, match=r'model.attention_dropout.*kernel="dense"'):
    ring.attend(x_BHTK, x_BHTK, x_BHTK, masks.causal(), scale=1.0, dropout=abs)
  with pytest.raises(ConfigError, match=r'model.attention_dropout=0.1.*dense'):
    small.resolve(attention__kernel='ring', model__dropout=0.1)
