"""Task heads: from the stream after the last norm to C outputs at each position.

A model without one has the language-model head, logits over the vocabulary. What the
outputs mean, and where they are read, objectives say:

  class_labels  a class for each text: one output a class, read once, pooled
  token_labels  a class for each token: one output a class, read everywhere
  span_labels   start and end of an answer: two outputs, each a softmax over the tokens
  regression    a number for each text: one output, pooled
  reward        how good a text is, learned from pairs: one output, pooled

A new head is a module here and a line in HEADS.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.config.schema import ModelConfig
from gpt_jax.core import registry
from gpt_jax.core.matmul import einsum
from gpt_jax.model.initializers import readout, truncated_normal, with_axes


class LinearHead(nn.Module):
  """A linear map with bias, [B, (T,) D] -> float32 [B, (T,) C]."""

  cfg: ModelConfig
  num_outputs: int

  @nn.compact
  def __call__(self, x_BTD):
    cfg, C = self.cfg, self.num_outputs
    # Few outputs: their axis is replicated on any mesh.
    init = with_axes(readout(cfg, cfg.d_model), 'embed', None)
    kernel_DC = self.param('kernel', init, (cfg.d_model, C), cfg.param_dtype)
    bias_C = self.param(
      'bias', with_axes(nn.initializers.zeros, None), (C,), cfg.param_dtype
    )
    return _linear(x_BTD, kernel_DC, bias_C)


class MLPHead(nn.Module):
  """A hidden layer before the linear map; with tanh it is the pooler of BERT.

  arXiv:1810.04805, appendix A.3. DistilBERT's has ReLU.
  """

  cfg: ModelConfig
  num_outputs: int
  activation: Callable = jax.nn.tanh

  @nn.compact
  def __call__(self, x_BTD):
    cfg, D = self.cfg, self.cfg.d_model
    init = with_axes(truncated_normal(D**-0.5), 'embed', None)
    kernel_DD = self.param('pooler_kernel', init, (D, D), cfg.param_dtype)
    bias_D = self.param(
      'pooler_bias', with_axes(nn.initializers.zeros, None), (D,), cfg.param_dtype
    )
    pooled_BTD = self.activation(_linear(x_BTD, kernel_DD, bias_D))
    return LinearHead(cfg, self.num_outputs, name='out')(pooled_BTD.astype(cfg.dtype))


def _linear(x, kernel_DC, bias_C):
  """Returns `x @ kernel + bias` in float32, for [B, D] or [B, T, D]."""
  rows = 'BT'[: x.ndim - 1]
  kernel_DC = kernel_DC.astype(x.dtype)
  y = einsum(f'{rows}D,DC->{rows}C', x, kernel_DC, jnp.float32)
  return y + bias_C.astype(jnp.float32)


HEADS = {
  'linear': LinearHead,
  'mlp': MLPHead,
  'mlp_relu': functools.partial(MLPHead, activation=jax.nn.relu),
}
"""Each entry: `head(cfg: ModelConfig, num_outputs) -> nn.Module`, x -> outputs."""


def make_head(config, num_outputs):
  """Returns the head that `objective.head` of a Config names; None for 0 outputs."""
  if not num_outputs:
    return None
  entry = registry.lookup(HEADS, config.objective.head, 'objective.head')
  return entry(config.model, num_outputs)
