"""Zeroed weights: Wanda against numpy, exact patterns, and zeros that stay."""

import numpy as np
import pytest

from gpt_jax.compress import METHODS, sparsity, unstructured
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from tests.compress import small_given

UNROLLED = {'model__scan_layers': False}
DENSE = ('drop_heads', 'drop_units', 'drop_layers')


def kernels(params):
  return {
    name: np.asarray(leaf)
    for name, leaf in pytree.named_leaves(params)
    if name.endswith('/kernel') and name.startswith('layers')
  }


def test_wanda_chooses_as_numpy_does():
  """|W| times the norm of its input, of each output the lower half goes."""
  one = small_given.given(sparsity.OfInputs(sparsity=0.5), **UNROLLED)
  made = kernels(unstructured.wanda(one).params)
  x_BTD = small_given.captured(one)['layers_0/block_0/mlp_norm/__call__']
  norm_D = np.sqrt((small_given.weights()[..., None] * x_BTD**2).sum((0, 1)))
  path = 'layers_0/block_0/mlp/up/kernel'
  kernel_DF = kernels(one.params)[path]
  score_DF = np.abs(kernel_DF) * norm_D[:, None]
  order_DF = np.argsort(score_DF, axis=0)
  wanted_DF = kernel_DF.copy()
  np.put_along_axis(wanted_DF, order_DF[:8], 0, axis=0)
  np.testing.assert_array_equal(made[path], wanted_DF)


@pytest.mark.parametrize('method', [unstructured.magnitude, unstructured.wanda])
def test_two_of_four_is_exact_in_every_kernel(method):
  options = sparsity.OfInputs if method is unstructured.wanda else sparsity.OfMatrices
  one = small_given.given(options(pattern='2:4'))
  made = method(one)
  before = kernels(one.params)
  for name, kernel in kernels(made.params).items():
    inputs = 16 if not name.endswith('down/kernel') else 64
    groups = (kernel != 0).reshape(2, inputs // 4, 4, -1)
    np.testing.assert_array_equal(groups.sum(2), 2)
    np.testing.assert_array_equal(kernel[kernel != 0], before[name][kernel != 0])
  assert made.notes['share'] == 0.5
  assert made.fields == {'optimizer.post_update': 'keep_zeros'}


def test_targets_choose_what_is_pruned():
  one = small_given.given(sparsity.OfMatrices(sparsity=0.3, targets='mlp/'))
  made = kernels(unstructured.magnitude(one).params)
  shares = {name: (kernel == 0).mean() for name, kernel in made.items()}
  for name, share in shares.items():
    assert share == (pytest.approx(0.3, abs=1e-3) if '/mlp/' in name else 0)
  untouched = dict(pytree.named_leaves(one.params))['embed/embedding']
  found = unstructured.magnitude(one).params['embed']['embedding']
  np.testing.assert_array_equal(found, untouched)


def test_another_hook_after_updates_is_left_and_said():
  one = small_given.given(
    sparsity.OfMatrices(), optimizer__post_update=f'{__name__}:other'
  )
  made = unstructured.magnitude(one)
  assert made.fields == {}
  assert 'stays: zeros may not' in made.notes['training']


def other(config, params):
  """Returns a hook that does nothing."""
  return lambda params, before, step: params


def test_wanda_without_data_is_refused():
  one = small_given.given(sparsity.OfInputs(), with_data=False)
  with pytest.raises(ConfigError, match='give --data=FILE'):
    unstructured.wanda(one)


@pytest.mark.parametrize('name', ['magnitude', 'wanda', *DENSE])
def test_a_quantized_model_is_refused(name):
  given = small_given.given(METHODS[name].options(), model__quantization='int8')
  with pytest.raises(ConfigError, match=f'{name}: the run is quantized already'):
    METHODS[name](given)
