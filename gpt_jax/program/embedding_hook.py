"""Changes of a model's embedded tokens, from outside of the model.

A change sees the rows of the token embedding as its module returns them, before they
are scaled, dropped out or added to those of positions.
"""

import contextlib

import flax.linen as nn
import jax.numpy as jnp

from gpt_jax.parallel.sharding import EMBED_AXES, constrain

_EMBEDDING = ('embed',)
"""Path of the module in `model.gpt.GPT`."""


def applied(changes):
  """Returns a context in which models embed tokens with `changes`, in their order.

  Each is `x_BTD -> x_BTD`, of the same shape and dtype. Without any, nothing happens.
  """
  if not changes:
    return contextlib.nullcontext()

  def intercept(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if context.module.path != _EMBEDDING or context.method_name != '__call__':
      return result
    for change in changes:
      result = change(result)
    return result

  return nn.intercept_methods(intercept)


def adding(perturbation_BTD, rules):
  """Returns the change that adds a perturbation, float32, placed as embeddings are."""
  perturbation_BTD = constrain(rules, perturbation_BTD, *EMBED_AXES)

  def change(x_BTD):
    return (x_BTD.astype(jnp.float32) + perturbation_BTD).astype(x_BTD.dtype)

  return change
