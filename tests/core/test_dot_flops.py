"""Dots are counted from their shapes, in nested functions, loops and branches too."""

import jax
import jax.numpy as jnp
import pytest

from gpt_jax.core import dot_flops

A_43, B_35 = jnp.ones((4, 3)), jnp.ones((3, 5))
ONE = 2 * 4 * 3 * 5


def in_a_loop(a, b):
  return jax.lax.scan(lambda carry, _: (carry, carry @ b), a, length=7)[1]


def in_a_branch(a, b):
  return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: jnp.zeros((4, 5)))


@pytest.mark.parametrize(
  'function, count',
  [
    (lambda a, b: a @ b, 1),
    (jax.jit(lambda a, b: a @ b), 1),
    (jax.checkpoint(lambda a, b: jnp.sin(a @ b)), 1),
    (jax.grad(lambda a, b: jnp.sum(jnp.sin(a @ b)), argnums=(0, 1)), 3),
    (in_a_loop, 7),
    (in_a_branch, 1),
    (lambda a, b: a + 1, 0),
  ],
)
def test_dots_are_counted_where_they_are(function, count):
  assert dot_flops.of_function(function, A_43, B_35) == count * ONE


def test_batches_multiply():
  batched = jnp.ones((6, 4, 3)), jnp.ones((6, 3, 5))
  assert dot_flops.of_function(jnp.matmul, *batched) == 6 * ONE
