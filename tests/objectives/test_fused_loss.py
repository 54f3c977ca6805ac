"""The fused loss against the plain one, and what its program holds and sends."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.matmul import einsum
from gpt_jax.objectives import fused_loss, losses
from gpt_jax.parallel.sharding import PRESETS, ShardingRules
from tests import tiny_runs
from tests.hlo.texts import collectives

B, T, D, V = 4, 10, 8, 32

OPTIONS = {
  'bare': {},
  'smoothed': dict(label_smoothing=0.1),
  'with z-loss': dict(z_loss=0.01),
  'padded vocabulary': dict(vocab_limit=29),
  'all of it': dict(label_smoothing=0.1, z_loss=0.01, vocab_limit=29),
}


def soft_cap(logits):
  return 2.0 * jnp.tanh(logits / 2.0)


def inputs(dtype='float32', shape=(B, T, D, V)):
  rows, time, width, vocab = shape
  rngs = jax.random.split(jax.random.key(0), 4)
  weights_BT = jax.random.uniform(rngs[3], (rows, time))
  return (
    jax.random.normal(rngs[0], (rows, time, width)).astype(dtype),
    jax.random.normal(rngs[1], (vocab, width)),  # stored in float32
    jax.random.randint(rngs[2], (rows, time), 0, vocab - 3),
    jnp.where(weights_BT < 0.3, 0.0, weights_BT),
  )


def plain(x_BTD, head_VD, targets_BT, weights_BT, transform=lambda x: x, **options):
  rounded_VD = head_VD.astype(x_BTD.dtype)
  logits_BTV = transform(einsum('BTD,VD->BTV', x_BTD, rounded_VD, jnp.float32))
  return losses.cross_entropy(logits_BTV, targets_BT, weights_BT, **options)


def value_and_gradients(loss, arguments, factor=1.0, **options):
  """Returns (sums, (dx, d_head)) of `factor` times the objective, compiled."""

  def objective(x_BTD, head_VD, targets_BT, weights_BT):
    sums = loss(x_BTD, head_VD, targets_BT, weights_BT, **options)
    return factor * sums.objective_sum, sums

  grad = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
  (_, sums), gradients = jax.jit(grad)(*arguments)
  return sums, gradients


def assert_close(tree, expected, **tolerance):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, **tolerance), tree, expected
  )


@pytest.mark.parametrize(
  'chunks', tiny_runs.mostly_slow([1, 3, 5, 16], 3, 5)
)  # 3 and 16 do not divide T
@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS.keys())
def test_value_and_gradients_are_those_of_the_plain_loss(options, chunks):
  arguments = inputs()
  got = value_and_gradients(
    fused_loss.fused_cross_entropy, arguments, 0.5, chunks=chunks, **options
  )
  want = value_and_gradients(plain, arguments, 0.5, **options)
  assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('chunks', tiny_runs.mostly_slow([1, 3, 5, 16], 3))
@pytest.mark.parametrize(
  'bearing', tiny_runs.mostly_slow(['some', 'few', 'none'], 'few')
)
def test_leaving_out_tokens_without_weight_changes_nothing(bearing, chunks):
  x_BTD, head_VD, targets_BT, weights_BT = inputs()
  if bearing != 'some':
    place_BT = jnp.arange(B * T).reshape(B, T)
    weights_BT = jnp.where((place_BT % 17 == 8) & (bearing == 'few'), 0.5, 0.0)
  arguments = x_BTD, head_VD, targets_BT, weights_BT
  options = dict(label_smoothing=0.1, z_loss=0.01)
  got = value_and_gradients(
    fused_loss.fused_cross_entropy, arguments, chunks=chunks, skips=True, **options
  )
  want = value_and_gradients(plain, arguments, **options)
  assert_close(got, want, rtol=1e-5, atol=1e-5)
  sums = fused_loss.fused_cross_entropy(*arguments, chunks=chunks, skips=True)
  assert_close(sums, plain(*arguments), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-5), ('bfloat16', 0.02)])
@pytest.mark.parametrize('chunks', [1, 3, 5])
def test_few_tokens_of_a_wide_model_have_the_same_gradients(chunks, dtype, tolerance):
  # Fewer tokens than the embedding is wide: the gradients of their logits are kept.
  options = dict(label_smoothing=0.1, z_loss=0.01)
  arguments = inputs(dtype, (B, T, 4 * B * T, V))
  arguments = (arguments[0] / 8, *arguments[1:])
  loss = fused_loss.fused_cross_entropy
  sums, gradients = value_and_gradients(loss, arguments, chunks=chunks, **options)
  want_sums, want = value_and_gradients(plain, arguments, **options)
  assert_close(sums, want_sums, rtol=1e-5)
  for got, wanted in zip(gradients, want, strict=True):
    error = jnp.linalg.norm((got - wanted).astype(jnp.float32))
    assert error < tolerance * jnp.linalg.norm(wanted.astype(jnp.float32))


def test_a_transform_of_the_logits_is_differentiated():
  for transform in (soft_cap, lambda logits: 0.25 * logits):
    got = value_and_gradients(
      fused_loss.fused_cross_entropy, inputs(), chunks=3, transform=transform
    )
    want = value_and_gradients(plain, inputs(), transform=transform)
    assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_bfloat16_reads_rounded_inputs_and_sums_in_float32():
  options = dict(label_smoothing=0.1, z_loss=0.01)
  x_BTD, head_VD, *rest = inputs('bfloat16')
  rounded_VD = head_VD.astype('bfloat16').astype('float32')
  exact = value_and_gradients(
    plain, (x_BTD.astype('float32'), rounded_VD, *rest), **options
  )
  sums, (dx_BTD, d_head_VD) = value_and_gradients(
    fused_loss.fused_cross_entropy, (x_BTD, head_VD, *rest), chunks=5, **options
  )
  assert dx_BTD.dtype == jnp.bfloat16 and d_head_VD.dtype == jnp.float32
  # The product of two bfloat16 is exact in float32, so the sums are those of float32.
  assert_close(sums, exact[0], rtol=1e-5)
  # The logits' gradient is rounded to 8 bits before both matmuls, dx after its own:
  # at most 2**-9 of a value each time.
  for got, want in zip((dx_BTD, d_head_VD), exact[1], strict=True):
    got = np.asarray(got, np.float32)
    np.testing.assert_allclose(got, want, atol=2**-7 * np.abs(want).max())


@pytest.mark.parametrize('chunks', [1, 4])
def test_evaluation_gives_the_same_sums_and_makes_no_gradient(chunks):
  arguments = inputs()
  loss = functools.partial(fused_loss.fused_cross_entropy, chunks=chunks, z_loss=0.1)
  assert_close(jax.jit(loss)(*arguments), plain(*arguments, z_loss=0.1), rtol=1e-5)
  matmuls = [e for e in eqns(jax.make_jaxpr(loss)(*arguments)) if 'dot' in e]
  assert len(matmuls) == 1


def eqns(jaxpr):
  """Returns the names of all operations, those of inner programs included."""
  names = []
  for eqn in jaxpr.eqns:
    names.append(eqn.primitive.name)
    for value in eqn.params.values():
      inner = getattr(value, 'jaxpr', value)
      names += eqns(inner) if hasattr(inner, 'eqns') else []
  return names


def test_only_the_objective_has_a_derivative():
  x_BTD, *rest = inputs()

  def others(x_BTD):
    sums = fused_loss.fused_cross_entropy(x_BTD, *rest, chunks=2)
    return (
      sums.metric_sums['loss']
      + sums.metric_sums['log_z_squared']
      + sums.metric_sums['accuracy']
      + sums.weight_sum
    )

  assert not np.any(jax.grad(others)(x_BTD))


def test_no_matmul_is_computed_twice():
  arguments = inputs()

  def objective(x_BTD, head_VD):
    loss = fused_loss.fused_cross_entropy(x_BTD, head_VD, *arguments[2:], chunks=2)
    return loss.objective_sum

  program = jax.make_jaxpr(jax.grad(objective, argnums=(0, 1)))(*arguments[:2])
  assert sum('dot' in name for name in eqns(program)) == 3


def test_auto_goes_by_the_size_of_the_logits():
  limit = fused_loss.FUSE_FROM
  assert fused_loss.choose('auto', limit) == 'plain'
  assert fused_loss.choose('auto', limit + 1) == 'fused'
  assert fused_loss.choose('plain', limit + 1) == 'plain'
  assert fused_loss.choose('fused', 1) == 'fused'
  # GPT-2's vocabulary, 8 rows a device.
  size = fused_loss.logits_bytes((32, 1024, 50304), (4, 1, 1))
  assert size == 4 * 8 * 1024 * 50304
  assert fused_loss.logits_bytes((32, 1024, 50304), (4, 2, 8)) == size / 16


def test_chunks_divide_the_time_where_few_more_do():
  assert fused_loss._num_chunks(1024, 7) == 8
  assert fused_loss._num_chunks(1023, 1) == 1
  assert fused_loss._num_chunks(1021, 5) == 5  # a prime: the last chunk is padded
  assert fused_loss._num_chunks(4, 9) == 9


# Programs for 8 devices.

MESHES = {
  'replicated': dict(data=8),
  'fsdp': dict(data=2, fsdp=4),
  'fsdp_tensor': dict(data=2, fsdp=2, tensor=2),
  'sequence': dict(fsdp=2, sequence=2, tensor=2),
}


def rules_of(preset):
  sizes = {'data': 1, 'fsdp': 1, 'sequence': 1, 'tensor': 1} | MESHES[preset]
  mesh = jax.make_mesh(
    tuple(sizes.values()), tuple(sizes), axis_types=(jax.sharding.AxisType.Auto,) * 4
  )
  return ShardingRules(mesh, PRESETS[preset])


@functools.cache
def sharded(preset, shape, dtype='float32', chunks=4, skips=False):
  """Returns (compiled objective and gradients, its arguments' shardings)."""
  rules = rules_of(preset)
  names = [('batch', 'time', 'act_embed'), ('vocab', 'embed')] + 2 * [('batch', 'time')]
  placing = tuple(map(rules.sharding, names))
  arguments = jax.eval_shape(functools.partial(inputs, dtype, shape))

  def objective(x_BTD, head_VD, targets_BT, weights_BT):
    sums = fused_loss.fused_cross_entropy(
      x_BTD, head_VD, targets_BT, weights_BT, chunks=chunks, rules=rules,
      label_smoothing=0.1, z_loss=0.01, skips=skips,
    )  # fmt: skip
    return sums.objective_sum, sums

  grad = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
  out = ((rules.sharding(), rules.sharding()), placing[:2])
  step = jax.jit(grad, in_shardings=placing, out_shardings=out)
  return step.lower(*arguments).compile(), placing


@pytest.mark.slow
@pytest.mark.parametrize(
  'width', tiny_runs.mostly_slow([8, 128], 8)
)  # tokens of a device: more, and fewer
@pytest.mark.parametrize('skips', [False, True])
@pytest.mark.parametrize('preset', sorted(MESHES))
def test_sharded_over_eight_devices_it_is_the_same_loss(preset, width, skips):
  shape = (8, 12, width, 32)
  program, placing = sharded(preset, shape, skips=skips)
  arguments = inputs(shape=shape)
  (_, sums), gradients = program(*map(jax.device_put, arguments, placing))
  want = value_and_gradients(plain, arguments, label_smoothing=0.1, z_loss=0.01)
  assert_close((sums, gradients), want, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
  'preset, dtype, skips',
  [
    ('replicated', 'float32', False), ('fsdp', 'float32', False),
    ('fsdp', 'bfloat16', False), ('fsdp', 'float32', True),
  ],
)  # fmt: skip
def test_no_device_waits_for_another_inside_the_chunks(preset, dtype, skips):
  program, _ = sharded(preset, (16, 64, 64, 512), dtype, skips=skips)
  inside, outside = collectives(program.as_text())
  assert inside == []
  assert outside


def test_the_head_is_gathered_once_and_its_gradient_once_reduced():
  _, outside = collectives(sharded('fsdp', (16, 64, 64, 512))[0].as_text())
  of_head = [(kind, shape) for shape, kind in outside if '512' in shape]
  kinds, shapes = zip(*of_head, strict=True)
  assert sorted(kinds) == ['all-gather', 'all-reduce', 'reduce-scatter']
  # Over fsdp by pieces; only what is left, a quarter, is added up over data.
  assert '[512,16]' in shapes[kinds.index('all-reduce')]


@pytest.mark.parametrize('preset', ['fsdp_tensor', 'sequence'])
def test_a_sharded_vocabulary_reduces_only_dx_inside_the_chunks(preset):
  inside, _ = collectives(sharded(preset, (16, 64, 64, 512))[0].as_text())
  assert {kind for _, kind in inside} == {'all-reduce'}
  shapes = re.findall(r'\[([\d,]+)\]', ' '.join(shape for shape, _ in inside))
  sizes = {np.prod([int(n) for n in shape.split(',')]) for shape in shapes}
  # A device has 64 tokens of a chunk: sums over ids have one number each, dx has 64.
  assert sizes == {64, 64 * 64}
