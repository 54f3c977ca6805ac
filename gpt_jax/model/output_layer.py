"""From the stream after the last norm to logits over the vocabulary; BERT's pooler.

Heads of other outputs are in `heads.py`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.config.schema import ModelConfig
from gpt_jax.core.errors import Problem
from gpt_jax.core.matmul import einsum
from gpt_jax.model import activations, initializers, stored
from gpt_jax.model.initializers import truncated_normal, with_axes
from gpt_jax.model.layers import Norm


class Head(nn.Module):
  """The untied output layer: `head()` is [V, D], stored as [D, V]."""

  cfg: ModelConfig

  @nn.compact
  def __call__(self):
    cfg = self.cfg
    shape = (cfg.d_model, cfg.vocab_size)
    if cfg.quantized_embedding:
      return stored.head(self, initializers.head(cfg), shape).T
    init = with_axes(initializers.head(cfg), 'embed', 'vocab')
    return self.param('kernel', init, shape, cfg.param_dtype).T


class Dense(nn.Module):
  """A square linear map with bias, [..., D] -> float32 [..., D]."""

  cfg: ModelConfig

  @nn.compact
  def __call__(self, x):
    cfg, D = self.cfg, self.cfg.d_model
    init = with_axes(truncated_normal(D**-0.5), 'embed', 'embed_vector')
    kernel_DD = self.param('kernel', init, (D, D), cfg.param_dtype)
    bias_D = self.param(
      'bias', with_axes(nn.initializers.zeros, 'embed_vector'), (D,), cfg.param_dtype
    )
    rows = 'BT'[: x.ndim - 1]
    y = einsum(f'{rows}D,DE->{rows}E', x, kernel_DD.astype(x.dtype), jnp.float32)
    return y + bias_D.astype(jnp.float32)


class HeadTransform(nn.Module):
  """Dense layer, activation and norm before the output layer, as BERT's masked head."""

  cfg: ModelConfig

  @nn.compact
  def __call__(self, x_BTD):
    cfg = self.cfg
    y_BTD = activations.lookup(cfg)(Dense(cfg, name='dense')(x_BTD))
    return Norm(cfg, cfg.norm, name='out_norm')(y_BTD.astype(x_BTD.dtype))


class Pooler(nn.Module):
  """tanh of a dense layer over the first token, [B, T, D] -> [B, D].

  BERT, arXiv:1810.04805, appendix A.3.
  """

  cfg: ModelConfig

  @nn.compact
  def __call__(self, x_BTD):
    pooled_BD = jax.nn.tanh(Dense(self.cfg, name='dense')(x_BTD[:, 0]))
    return pooled_BD.astype(x_BTD.dtype)


def problems(config):
  """Yields the Problems of a Config's output layer with what reads it."""
  if config.model.head_bias and config.objective.loss == 'fused':
    yield Problem(
      'objective.loss',
      '="fused": makes logits without the bias of model.head_bias=True; set "plain" or'
      ' "auto"',
    )


def scale_and_cap_logits(cfg, logits_BTV):
  """Returns raw logits scaled as muP wants and soft-capped, float32."""
  logits_BTV = logits_BTV * initializers.output_multiplier(cfg)
  if cfg.logit_softcap:
    logits_BTV = cfg.logit_softcap * jnp.tanh(logits_BTV / cfg.logit_softcap)
  return logits_BTV
