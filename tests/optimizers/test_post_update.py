"""What follows an update: zeros that are kept, and names that are refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.optimizers import post_update
from tests import small_models


def test_zeros_of_matrices_are_kept_those_of_biases_leave():
  hook = post_update.keep_zeros(None, None)
  before = {'up': {'kernel': jnp.array([0.0, 2.0, -0.0]), 'bias': jnp.zeros(2)}}
  after = {'up': {'kernel': jnp.array([1.0, 0.0, 3.0]), 'bias': jnp.ones(2)}}
  kept = hook(after, before, 0)
  np.testing.assert_array_equal(kept['up']['kernel'], [0, 0, 0])
  np.testing.assert_array_equal(kept['up']['bias'], [1, 1])


def test_a_misspelt_hook_names_the_nearest_one():
  with pytest.raises(ConfigError, match="did you mean 'keep_zeros'"):
    small_models.resolve(optimizer__post_update='keep_zero')


def test_no_name_is_no_hook():
  assert post_update.make_post_update(small_models.resolve(), {}) is None
