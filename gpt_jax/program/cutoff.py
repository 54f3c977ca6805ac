"""Token cutoff: whole tokens disappear from the input, arXiv:2009.13818, section 3.2.

The row that the token embedding gives is zero, at random; its position stays.
"""

import jax
import jax.numpy as jnp

_STREAM = 3  # of the random numbers of a step, apart from those of dropout


def applied(forward, rate):
  """Returns `forward` (a Forward of a training step) with tokens cut at `rate`."""
  rng = jax.random.fold_in(forward.dropout_rng, _STREAM)

  def change(x_BTD):
    is_kept_BT = jax.random.bernoulli(rng, 1 - rate, x_BTD.shape[:2])
    return jnp.where(is_kept_BT[..., None], x_BTD, 0)

  return forward.with_changes(change)
