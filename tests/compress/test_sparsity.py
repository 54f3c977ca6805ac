"""Which weights go: shares, groups of M, kernels of every layout, what is refused."""

import numpy as np
import pytest

from gpt_jax.compress import sparsity
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import linears
from tests import small_models

SCORES = np.random.default_rng(0).random((8, 6))


def test_the_lowest_share_of_a_matrix_goes():
  is_kept = sparsity.keep_of_matrix(SCORES, 0.25)
  assert (~is_kept).sum() == 12
  assert SCORES[~is_kept].max() < SCORES[is_kept].min()


def test_the_lowest_share_of_each_output_goes():
  is_kept = sparsity.keep_of_outputs(SCORES, 0.5)
  np.testing.assert_array_equal(is_kept.sum(0), 4)
  for scores, kept in zip(SCORES.T, is_kept.T, strict=True):
    assert scores[~kept].max() < scores[kept].min()


def test_of_every_four_inputs_two_stay():
  is_kept = sparsity.keep_of_groups(SCORES, 2, 4)
  groups = is_kept.reshape(2, 4, 6)
  np.testing.assert_array_equal(groups.sum(1), 2)
  scores = SCORES.reshape(2, 4, 6)
  best = np.sort(scores, axis=1)[:, 2:].sum(1)
  np.testing.assert_allclose((scores * groups).sum(1), best)


def test_equal_scores_lose_exactly_their_share():
  assert sparsity.keep_of_matrix(np.zeros((4, 4)), 0.5).sum() == 8
  assert sparsity.keep_of_groups(np.zeros((4, 4)), 2, 4).sum() == 8


@pytest.mark.parametrize('scan', [True, False])
def test_kernels_of_every_layout_come_back(scan):
  cfg = small_models.model_config(scan_layers=scan)
  rng = np.random.default_rng(0)
  for linear in linears.find(cfg):
    kernel = rng.normal(size=linear.shape)
    matrices = sparsity.as_matrices(linear, kernel)
    assert matrices.shape[1:] == (linear.fan_in, linear.fan_out)
    np.testing.assert_array_equal(sparsity.as_kernel(linear, matrices), kernel)
    if linear.path.endswith('attention/out'):
      last = kernel[-1] if scan else kernel
      np.testing.assert_array_equal(matrices[-1], last.reshape(16, 16))


@pytest.mark.parametrize('pattern', ['2', '4:2', '2:2', '0:4', 'a:b', '1:2:4'])
def test_what_is_no_pattern_is_refused(pattern):
  with pytest.raises(ConfigError, match='expected N:M, N less than M, such as 2:4'):
    sparsity.check('magnitude', sparsity.OfMatrices(pattern=pattern))


def test_nothing_to_zero_is_refused():
  with pytest.raises(ConfigError, match='sparsity=0: zeroes nothing'):
    sparsity.check('wanda', sparsity.OfInputs(sparsity=0.0))


def test_inputs_that_do_not_divide_are_refused():
  found = linears.find(small_models.model_config(d_ff=30))
  with pytest.raises(ConfigError, match='mlp/down has 30 inputs, which 4 does not'):
    sparsity.check_sizes('magnitude', (2, 4), found)
