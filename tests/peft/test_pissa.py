"""PiSSA's first factors, against numpy's singular values."""

import numpy as np
import pytest

from gpt_jax.peft import linears, pissa
from tests import small_models
from tests.peft import adapted_models


@pytest.mark.parametrize('name', ['query', 'out'])
def test_factors_are_the_principal_part(name):
  cfg = small_models.model_config()
  linear = next(each for each in linears.find(cfg) if each.path.endswith(name))
  kernel = np.random.default_rng(0).normal(size=linear.shape).astype(np.float32)
  a, b = pissa.principal(linear, kernel, rank=3, scale=4.0)
  product = 4.0 * a.reshape(2, 16, 3) @ b.reshape(2, 3, 16)
  flat = kernel.reshape(2, 16, 16)
  values = np.linalg.svd(flat, compute_uv=False)
  left = np.linalg.svd(flat - product, compute_uv=False)
  np.testing.assert_allclose(left[:, :-3], values[:, 3:], rtol=1e-4)
  np.testing.assert_allclose(left[:, -3:], 0, atol=1e-5)


def test_the_start_is_subtracted_and_stays():
  program = adapted_models.build('pissa')
  state = adapted_models.state_of(program)
  before = {
    name: np.asarray(leaf)
    for name, leaf in state.params['layers']['block_0']['mlp']['up'].items()
  }
  np.testing.assert_array_equal(before['lora_a'], before['lora_a_start'])
  assert np.abs(before['lora_b']).max() > 0
  state, _ = adapted_models.steps(program, state)
  after = state.params['layers']['block_0']['mlp']['up']
  np.testing.assert_array_equal(after['lora_a_start'], before['lora_a_start'])
  assert np.abs(after['lora_a'] - before['lora_a']).max() > 0
