"""Tokens in another order: those that bear loss first, on each device by itself.

A loss in chunks can then leave out chunks that bear none: prompts whose answers are
learned, words that a masked model was shown, padding.
"""

import jax
import jax.numpy as jnp


def targets_first(x_BTD, targets_BT, weights_BT, rules, shards):
  """Returns (x, targets, weights) of the same tokens, [P, S N, ...].

  `shards`: over how many devices batch and time are, (P, S); each has N tokens, and
  keeps them. The gradient of x comes back in the order of `x_BTD`.
  """
  order_PSN = _by_device(weights_BT == 0, shards).argsort(axis=-1, stable=True)
  inverse_PSN = order_PSN.argsort(axis=-1)

  def reorder(a_BT):
    a = _taken(_by_device(a_BT, shards), order_PSN, inverse_PSN)
    a = a.reshape(a.shape[0], -1, *a.shape[3:])
    names = 'batch', 'time', *('act_embed' for _ in a.shape[2:])
    return a if rules is None else rules.constrain(a, *names)

  return tuple(map(reorder, (x_BTD, targets_BT, weights_BT)))


def _by_device(a_BT, shards):
  """Returns [B, T, ...] as [P, S, B / P * T / S, ...]."""
  rows, time, *rest = a_BT.shape
  P, S = shards
  a = a_BT.reshape(P, rows // P, S, time // S, *rest)
  return a.swapaxes(1, 2).reshape(P, S, -1, *rest)


@jax.custom_vjp
def _taken(a_PSN, order_PSN, inverse_PSN):
  del inverse_PSN
  return _take(a_PSN, order_PSN)


def _take(a_PSN, order_PSN):
  order = order_PSN.reshape(*order_PSN.shape, *[1] * (a_PSN.ndim - 3))
  return jnp.take_along_axis(a_PSN, order, axis=2)


# The transpose of taking is adding in any order, which is slow; this is a permutation.
_taken.defvjp(
  lambda a_PSN, order_PSN, inverse_PSN: (_take(a_PSN, order_PSN), inverse_PSN),
  lambda inverse_PSN, da_PSN: (_take(da_PSN, inverse_PSN), None, None),
)
