"""Activation functions of the MLP, plain and gated; a new one is an entry here."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from gpt_jax.core import registry


@dataclasses.dataclass(frozen=True)
class Gate:
  """The function of a gate, which multiplies the MLP's hidden layer."""

  function: Callable
  is_gated = True

  def __call__(self, x):
    return self.function(x)


ACTIVATIONS = {
  'gelu': nn.gelu,  # the tanh form, as in GPT-2
  'gelu_exact': lambda x: nn.gelu(x, approximate=False),
  'relu': nn.relu,
  'silu': nn.silu,
  'relu2': lambda x: jnp.square(nn.relu(x)),  # arXiv:2109.08668
  # arXiv:2002.05202
  'swiglu': Gate(nn.silu),
  'geglu': Gate(nn.gelu),
  'reglu': Gate(nn.relu),
}
"""Each entry: a function of x, elementwise, or a `Gate` of one."""


def lookup(cfg):
  """Returns the activation of a ModelConfig."""
  return registry.lookup(ACTIVATIONS, cfg.activation, 'model.activation')


def is_gated(activation):
  """Returns whether the MLP has a gate beside its up-projection."""
  return getattr(activation, 'is_gated', False)
