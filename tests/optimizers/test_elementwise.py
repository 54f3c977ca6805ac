"""AdamW, Lion and SGD on a steady gradient, by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.optimizers import elementwise

CFG = load.resolve(base.get_config()).optimizer
GRADIENT = {'w': jnp.array([-3.0, 0.5, 2.0])}


def directions(make, num_steps=2, **fields):
  direction, rates = make(dataclasses.replace(CFG, **fields), ['w'])
  assert rates == {'w': CFG.learning_rate}
  state, result = direction.init(GRADIENT), []
  for _ in range(num_steps):
    update, state = direction.update(GRADIENT, state, GRADIENT)
    result.append(np.asarray(update['w']))
  return result


@pytest.mark.parametrize('make', [elementwise.adamw, elementwise.lion])
def test_steps_on_a_steady_gradient_are_its_sign(make):
  for update in directions(make):
    np.testing.assert_allclose(update, np.sign(GRADIENT['w']), rtol=1e-5)


def test_sgd_is_the_gradient_and_momentum_its_trace():
  gradient = np.asarray(GRADIENT['w'])
  plain = directions(elementwise.sgd, momentum=0.0)
  heavy = directions(elementwise.sgd, momentum=0.9, nesterov=False)
  ahead = directions(elementwise.sgd, momentum=0.9, nesterov=True)
  np.testing.assert_allclose(plain, [gradient, gradient])
  np.testing.assert_allclose(heavy, [gradient, 1.9 * gradient], rtol=1e-6)
  np.testing.assert_allclose(ahead, [1.9 * gradient, 2.71 * gradient], rtol=1e-6)
