"""Products of two factors, against numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.peft import linears, low_rank
from tests import small_models


@pytest.mark.parametrize('scan', [True, False])
@pytest.mark.parametrize('name', ['query', 'out', 'down'])
def test_an_update_is_the_product_of_its_factors(name, scan):
  cfg = small_models.model_config(scan_layers=scan)
  linear = next(each for each in linears.find(cfg) if each.path.endswith(name))
  rng = np.random.default_rng(0)
  a = rng.normal(size=(*linear.stack, *linear.sizes(linear.contracted), 3))
  b = rng.normal(size=(*linear.stack, 3, *linear.sizes(linear.kept)))
  flat = a.reshape(*linear.stack, linear.fan_in, 3)
  wanted = flat @ b.reshape(*linear.stack, 3, linear.fan_out)
  found = low_rank.update_of(linear, jnp.asarray(a), jnp.asarray(b))
  np.testing.assert_allclose(found, wanted.reshape(linear.shape), atol=1e-5)


def test_a_product_with_an_input_is_that_of_the_update():
  letters = ('BHTK', 'HKD', 'BTD')
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, 3, 5, 4)), jnp.float32)
  a = jnp.asarray(rng.normal(size=(3, 4, 2)), jnp.float32)
  b = jnp.asarray(rng.normal(size=(2, 6)), jnp.float32)
  wanted = np.einsum('BHTK,HKR,RD->BTD', x, a, b)
  found = low_rank.low_rank(letters, x, a, b)
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
