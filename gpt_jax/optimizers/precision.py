"""Optimizers that compute and remember in float32, whatever parameters are stored in.

In bfloat16 a second moment with b2 = 0.999 stands still: its step of 1/1000 is below
half of bfloat16's spacing, 1/256. In float16 Adam's eps of 1e-8 is 0, and a gradient of
0 divides by it.
"""

import jax
import optax

from gpt_jax.core.matmul import sum_dtype


def in_float32(transform):
  """Returns `transform` on float32 copies: its state and updates are float32 too.

  `optax.apply_updates` adds those in float32 and rounds once to the parameters' dtype.
  """

  def init(params):
    return transform.init(_widen(params))

  def update(updates, state, params=None):
    return transform.update(_widen(updates), state, _widen(params))

  return optax.GradientTransformation(init, update)


def _widen(tree):
  return jax.tree.map(lambda leaf: leaf.astype(sum_dtype(leaf)), tree)
