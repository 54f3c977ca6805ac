"""Each method gives a model that its config describes, near the one it was given."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.compress import awq, calibration, folding, gptq, storing, w8a8
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import linear_maps
from gpt_jax.program import setup
from gpt_jax.program.build import init_params
from gpt_jax.quantization import int4, packed
from gpt_jax.quantization.kernel_format import num_groups
from tests.compress import models

# Mean squared error of logits over their variance. Random models have no margin.
METHODS = {
  'bfloat16': 1e-3,
  'int8': 1e-3,
  'int8:scales=tensor': 3e-3,
  'llm_int8': 3e-3,
  'w8a8': 1e-2,
  'int4:group=16': 0.1,
  'int4:group=16:calibration=none': 0.1,
  'int4:group=16:calibration=awq': 0.1,
  'nf4': 0.1,
}


def config_of(given, made):
  fields = {name.removeprefix('model.'): value for name, value in made.fields.items()}
  model = dataclasses.replace(given.config.model, **fields)
  return dataclasses.replace(given.config, model=model)


@pytest.mark.parametrize('text', METHODS)
def test_a_compressed_model_is_near_and_as_declared(text):
  compress, given = models.given(text)
  made = compress(given)
  config = config_of(given, made)
  wanted = models.logits(given.config, given.params, models.batch(5)['tokens'])
  found = models.logits(config, made.params, models.batch(5)['tokens'])
  error = float(jnp.square(found - wanted).mean() / jnp.var(wanted))
  assert error < METHODS[text], error
  assert pytree.size_bytes(made.params) < 0.6 * pytree.size_bytes(given.params)
  # What a fresh model of that config has.
  fresh = jax.eval_shape(lambda: init_params(0, models.gpt(config)))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), fresh) == jax.tree.map(
    lambda x: (x.shape, x.dtype), made.params
  )


def test_kernels_in_int8_are_those_of_the_dense_model_they_make():
  compress, given = models.given('int8')
  made = compress(given)
  dense = packed.unpacked(made.params, jnp.float32)
  tokens_BT = models.batch(5)['tokens']
  np.testing.assert_allclose(
    models.logits(config_of(given, made), made.params, tokens_BT),
    models.logits(given.config, dense, tokens_BT),
    atol=1e-4,
  )


def test_a_scale_for_each_output_is_finer_than_one_for_all():
  errors = []
  for scales in ('channel', 'tensor'):
    compress, given = models.given(f'int8:scales={scales}')
    dense = packed.unpacked(compress(given).params, jnp.float32)
    before = dict(pytree.named_leaves(given.params))
    after = dict(pytree.named_leaves(dense))
    kernels = [linear.kernel for linear in linear_maps.find(given.config.model)]
    errors.append([float(jnp.abs(before[k] - after[k]).mean()) for k in kernels])
  assert all(fine < coarse for fine, coarse in zip(*errors, strict=True))


def moments():
  _, given = models.given('int4')
  sums = calibration.observe(
    given, 'int4', 4, (calibration.MOMENT, calibration.MEAN, calibration.PEAK)
  )
  return given, sums


def test_moments_are_those_of_inputs():
  given, sums = moments()
  moment = sums[calibration.MOMENT]['layers/block_0/attention/BTD']
  assert moment.shape == (2, 32, 32)
  np.testing.assert_allclose(moment, moment.swapaxes(1, 2), rtol=1e-3)
  # A norm's output: squares of all features add up to what its scale says.
  mean = sums[calibration.MEAN]['layers/block_0/attention/BTD']
  assert np.all(mean.argmax(-1) == 3)
  peak = sums[calibration.PEAK]['layers/block_0/attention/BTD']
  tokens = 4 * 8 * 16
  assert np.all(peak / 4 >= mean / tokens)


def test_gptq_has_less_error_of_outputs_than_rounding():
  given, sums = moments()
  leaves = dict(pytree.named_leaves(given.params))
  for linear in linear_maps.find(given.config.model):
    moment = sums[calibration.MOMENT][calibration.input_name(linear)][0]
    shape = linear.num_matrices, linear.fan_in, linear.fan_out
    matrix = np.asarray(leaves[linear.kernel]).reshape(shape)[0]
    groups = num_groups(linear.fan_in, 16)
    layout = storing.matrix_layout(2)
    rounded = int4.dequantize(*int4.quantize(matrix, layout, groups), layout)
    scales = int4.best_scale(matrix, layout, groups)
    codes = gptq.quantize(matrix, moment, scales)
    near = int4.dequantize(
      jnp.asarray(codes).astype(jnp.int4), {int4.SCALE: scales}, layout
    )
    errors = [gptq.output_error(x - matrix, moment) for x in (near, rounded)]
    assert errors[0] < errors[1], linear.path


def test_scales_favour_the_weights_that_matter():
  rng, layout = np.random.default_rng(0), storing.matrix_layout(2)
  matrix = rng.normal(size=(32, 200)).astype(np.float32)
  importance = np.where(np.arange(32) < 4, 100.0, 0.01).astype(np.float32)[:, None]
  errors = []
  for given in (importance, None):
    scale = int4.best_scale(matrix, layout, 1, given)
    codes = int4.encode(matrix, scale, layout)
    near = int4.dequantize(codes, {int4.SCALE: scale}, layout)
    errors.append((importance * np.square(near - matrix)).sum(0))
  assert np.all(errors[0] <= errors[1] * 1.0001) and errors[0].sum() < errors[1].sum()


def test_gptq_of_independent_inputs_is_rounding():
  matrix = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
  wanted, parts = int4.quantize(matrix, storing.matrix_layout(2), 2)
  codes = gptq.quantize(matrix, np.eye(32), parts[int4.SCALE])
  np.testing.assert_array_equal(codes, np.asarray(wanted, np.int8))


def test_awq_has_less_error_of_outputs_than_rounding():
  given, sums = moments()
  leaves = dict(pytree.named_leaves(given.params))
  for one in folding.find(given.config.model):
    name = calibration.input_name(one.readers[0])
    moment, mean = (sums[k][name] for k in (calibration.MOMENT, calibration.MEAN))
    best = awq._best(one, leaves, mean, moment, 16)

    def error(scale, one=one, moment=moment):
      return sum(
        awq._error(leaves[x.kernel], scale, moment, x, 16) for x in one.readers
      )

    assert np.all(error(best) <= error(jnp.ones_like(best)) * 1.0001)


@pytest.mark.parametrize('scan', (True, False))
def test_smoothing_does_not_change_what_is_computed(scan):
  _, given = models.given('w8a8', scan)
  peaks = calibration.observe(given, 'w8a8', 2, (calibration.PEAK,))[calibration.PEAK]
  smooth = w8a8.smoothed(given, peaks, 0.5, 2)
  tokens_BT = models.batch(5)['tokens']
  np.testing.assert_allclose(
    models.logits(given.config, smooth, tokens_BT),
    models.logits(given.config, given.params, tokens_BT),
    rtol=1e-3,
    atol=1e-4,
  )
  name = next(n for n, _ in pytree.named_leaves(smooth) if 'attention_norm' in n)
  old, new = (dict(pytree.named_leaves(t))[name] for t in (given.params, smooth))
  assert np.ptp(new + 1) < np.ptp(old + 1) / 2


def test_what_cannot_be_is_refused():
  compress, given = models.given('int8')
  made = compress(given)
  again = dataclasses.replace(given, config=config_of(given, made), params=made.params)
  with pytest.raises(ConfigError, match='quantized already'):
    compress(again)
  for text in ('int4', 'w8a8', 'int4:calibration=awq'):
    compress, given = models.given(text)
    with pytest.raises(ConfigError, match=r'calibrates on text.*--data=FILE'):
      compress(dataclasses.replace(given, observe=None))
  with pytest.raises(ConfigError, match='do not train'):
    setup.check_trains(config_of(given, made))
