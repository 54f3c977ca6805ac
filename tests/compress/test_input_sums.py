"""Sums of what layers read: against arrays that flax captures, padding left out."""

import numpy as np
import pytest

from gpt_jax.compress import input_sums
from gpt_jax.peft import linears
from tests.compress import small_given

UNROLLED = {'model__scan_layers': False, 'model__bias': False}


def test_squares_are_those_of_what_a_map_reads():
  one = small_given.given(None, **UNROLLED)
  found = linears.choose(one.config.model, 'layers_1/.*mlp/', 'mlp')
  sums = one.observe(input_sums.squares(found), 1)
  x_BTD = small_given.captured(one)['layers_1/block_0/mlp_norm/__call__']
  squares_D = (small_given.weights()[..., None] * x_BTD**2).sum((0, 1))
  path = 'layers_1/block_0/mlp/up'
  (up_D,) = input_sums.stacked(sums, path, input_sums.SQUARES)
  np.testing.assert_allclose(up_D, squares_D, rtol=1e-5)


def test_sums_of_scanned_layers_are_stacked():
  both = []
  for scan in (True, False):
    one = small_given.given(None, model__scan_layers=scan)
    outs = linears.choose(one.config.model, 'attention/out$', 'out')
    both.append(one.observe(input_sums.head_moments(outs), 1))
  stacked, apart = both
  (name,) = stacked
  assert stacked[name].shape == (2, 4, 4, 4)
  assert {value.shape for value in apart.values()} == {(4, 4, 4)}


@pytest.mark.parametrize('scan', [True, False])
def test_cosines_are_of_the_stream_around_each_block(scan):
  one = small_given.given(None, model__scan_layers=scan)
  sums = one.observe(input_sums.block_cosines, 1)
  x_LBTD, weights_BT = small_given.streams(one), small_given.weights()
  norms_LBT = np.linalg.norm(x_LBTD, axis=-1)
  cosine_LBT = (x_LBTD[1:] * x_LBTD[:-1]).sum(-1) / norms_LBT[1:] / norms_LBT[:-1]
  wanted = (cosine_LBT * weights_BT).sum((1, 2))
  groups = ['layers'] if scan else ['layers_0', 'layers_1']
  found = np.concatenate(
    [
      input_sums.stacked(sums, f'{group}/block_0', input_sums.COSINES)
      for group in groups
    ]
  )
  np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-5)
  np.testing.assert_array_equal(found[:, 1], weights_BT.sum())
