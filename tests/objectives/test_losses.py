"""Cross-entropy against optax, formulas and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from gpt_jax.objectives import losses

cross_entropy = jax.jit(
  losses.cross_entropy, static_argnames=('label_smoothing', 'z_loss', 'vocab_limit')
)

B, T, V = 3, 5, 11


def inputs(dtype=jnp.float32, scale=3.0):
  rngs = jax.random.split(jax.random.key(0), 3)
  logits = scale * jax.random.normal(rngs[0], (B, T, V))
  targets = jax.random.randint(rngs[1], (B, T), 0, V)
  weights = jax.random.uniform(rngs[2], (B, T))
  return logits.astype(dtype), targets, weights


def test_nll_and_its_gradient_equal_optax():
  logits, targets, weights = inputs()

  def oracle(logits):
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return jnp.sum(weights * nll)

  def ours(logits):
    return cross_entropy(logits, targets, weights).objective_sum

  value, gradient = jax.value_and_grad(ours)(logits)
  want, want_gradient = jax.value_and_grad(oracle)(logits)
  np.testing.assert_allclose(value, want, rtol=1e-6)
  np.testing.assert_allclose(gradient, want_gradient, atol=1e-6)


def test_label_smoothing_equals_soft_targets():
  logits, targets, weights = inputs()
  soft = 0.9 * jax.nn.one_hot(targets, V) + 0.1 / V
  want = jnp.sum(weights * optax.softmax_cross_entropy(logits, soft))
  got = cross_entropy(logits, targets, weights, label_smoothing=0.1)
  np.testing.assert_allclose(got.objective_sum, want, rtol=1e-6)
  plain = cross_entropy(logits, targets, weights)
  np.testing.assert_array_equal(got.metric_sums['loss'], plain.metric_sums['loss'])


def test_z_loss_adds_logsumexp_squared_to_the_objective_only():
  logits, targets, weights = inputs()
  got = cross_entropy(logits, targets, weights, z_loss=0.01)
  z = np.sum(weights * np.square(jax.nn.logsumexp(logits, axis=-1)))
  np.testing.assert_allclose(got.metric_sums['log_z_squared'], z, rtol=1e-6)
  np.testing.assert_allclose(
    got.objective_sum, got.metric_sums['loss'] + 0.01 * z, rtol=1e-6
  )


@pytest.mark.parametrize('smoothing, z_loss', [(0.0, 0.3), (0.2, 0.0), (0.1, 0.1)])
def test_gradients_agree_with_finite_differences(smoothing, z_loss):
  logits, targets, weights = inputs(scale=1.0)

  def objective(logits):
    sums = cross_entropy(
      logits, targets, weights, label_smoothing=smoothing, z_loss=z_loss, vocab_limit=9
    )
    return sums.objective_sum

  # float32 with steps of 1e-2: truncation and rounding are both near 1e-4.
  targets = targets % 9
  check_grads(objective, (logits,), 1, ['rev'], atol=5e-3, rtol=5e-3, eps=1e-2)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_padding_ids_change_nothing_and_get_no_gradient(smoothing):
  logits, targets, weights = inputs()
  options = dict(label_smoothing=smoothing, z_loss=0.01)
  want = cross_entropy(logits, targets, weights, **options)
  padding = jnp.full((B, T, 5), 50.0)  # higher than any real logit

  def objective(padding):
    padded = jnp.concatenate([logits, padding], axis=-1)
    sums = cross_entropy(padded, targets, weights, vocab_limit=V, **options)
    return sums.objective_sum, sums

  gradient, got = jax.grad(objective, has_aux=True)(padding)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, want)
  assert not np.any(gradient)


def test_logits_stay_sharded_over_the_vocabulary():
  mesh = jax.make_mesh(
    (2, 4), ('data', 'tensor'), axis_types=(jax.sharding.AxisType.Auto,) * 2
  )
  shard = jax.NamedSharding(mesh, jax.P('data', None, 'tensor'))
  logits = jax.ShapeDtypeStruct((4, T, 16), jnp.float32, sharding=shard)
  rows = jax.NamedSharding(mesh, jax.P('data', None))
  targets = jax.ShapeDtypeStruct((4, T), jnp.int32, sharding=rows)
  weights = jax.ShapeDtypeStruct((4, T), jnp.float32, sharding=rows)

  def objective(logits, targets, weights):
    sums = cross_entropy(
      logits, targets, weights, label_smoothing=0.1, z_loss=0.1, vocab_limit=V
    )
    return sums.objective_sum, sums

  step = jax.jit(jax.value_and_grad(objective, has_aux=True))
  program = step.lower(logits, targets, weights).compile().as_text()
  assert 'all-reduce' in program and 'all-gather' not in program


def test_sums_of_microbatches_add_up_to_those_of_the_batch():
  logits, targets, weights = inputs()
  expected = cross_entropy(logits, targets, weights, z_loss=0.1)
  parts = [
    cross_entropy(logits[i : i + 1], targets[i : i + 1], weights[i : i + 1], z_loss=0.1)
    for i in range(B)
  ]
  summed = jax.tree.map(lambda *values: sum(values), *parts)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), summed, expected
  )


def test_bfloat16_logits_are_summed_in_float32():
  logits, targets, weights = inputs(jnp.bfloat16)
  got = cross_entropy(logits, targets, weights)
  want = cross_entropy(logits.astype(jnp.float32), targets, weights)
  assert got.metric_sums['loss'].dtype == jnp.float32
  np.testing.assert_array_equal(got.metric_sums['loss'], want.metric_sums['loss'])


def test_correct_counts_what_argmax_picks():
  logits, targets, weights = inputs()
  want = jnp.sum(weights * (jnp.argmax(logits, axis=-1) == targets))
  got = cross_entropy(logits, targets, weights)
  np.testing.assert_allclose(got.metric_sums['accuracy'], want, rtol=1e-6)


def test_a_tie_is_no_prediction():
  logits, targets, weights = inputs()
  logits = jnp.round(logits)  # many ties
  top_2 = -jnp.sort(-logits, axis=-1)[..., :2]
  alone = top_2[..., 0] > top_2[..., 1]
  want = jnp.sum(weights * alone * (jnp.argmax(logits, axis=-1) == targets))
  got = cross_entropy(logits, targets, weights)
  np.testing.assert_allclose(got.metric_sums['accuracy'], want, rtol=1e-6)
  level = cross_entropy(jnp.zeros((B, T, V)), targets, jnp.ones((B, T)))
  assert level.metric_sums['accuracy'] == 0


def test_targets_of_weight_zero_change_no_sum():
  logits, targets, weights = inputs()
  weights = weights.at[1].set(0.0)
  changed = logits.at[1].set(7.0 * logits[1] + 1.0)
  got = cross_entropy(changed, targets.at[1].set(0), weights, label_smoothing=0.1)
  want = cross_entropy(logits, targets, weights, label_smoothing=0.1)
  jax.tree.map(np.testing.assert_array_equal, got, want)
