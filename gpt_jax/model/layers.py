"""Layers with parameters: a linear map by its einsum, a table, norms, the MLP."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.config import ModelConfig
from gpt_jax.matmul import einsum
from gpt_jax.model import initializers
from gpt_jax.model.initializers import with_axes


class Linear(nn.Module):
  """`x` times a kernel, as `equation` says, plus a bias over the kernel's own outputs.

  `shape` and `axes` (logical names) belong to the kernel, in the equation's letters.
  """

  equation: str
  shape: tuple[int, ...]
  axes: tuple[str, ...]
  initializer: Callable
  use_bias: bool
  dtype: str
  param_dtype: str

  @nn.compact
  def __call__(self, x):
    terms, out = self.equation.split('->')
    letters = terms.split(',')[1]
    kernel = self.param(
      'kernel', with_axes(self.initializer, *self.axes), self.shape, self.param_dtype
    )
    y = einsum(self.equation, x, kernel.astype(self.dtype))
    if not self.use_bias:
      return y
    size = dict(zip(letters, self.shape, strict=True))
    name = dict(zip(letters, self.axes, strict=True))
    kept = [letter for letter in letters if letter in out]
    bias = self.param(
      'bias',
      with_axes(nn.initializers.zeros, *(name[letter] for letter in kept)),
      tuple(size[letter] for letter in kept),
      self.param_dtype,
    )
    # Dimensions that the kernel does not make (B, T) are broadcast.
    return y + bias.astype(self.dtype).reshape(
      [size[letter] if letter in kept else 1 for letter in out]
    )


class Embed(nn.Module):
  """A table [rows, D]: `embed(ids)` reads it, `embed.embedding` is the tied head."""

  rows: int
  d_model: int
  axes: tuple[str, str]
  initializer: Callable
  dtype: str
  param_dtype: str

  def setup(self):
    self.embedding = self.param(
      'embedding',
      with_axes(self.initializer, *self.axes),
      (self.rows, self.d_model),
      self.param_dtype,
    )

  def __call__(self, ids_BT):
    return self.embedding[ids_BT].astype(self.dtype)


class Head(nn.Module):
  """The untied output head: `head()` is its table [V, D], stored as [D, V]."""

  cfg: ModelConfig

  @nn.compact
  def __call__(self):
    cfg = self.cfg
    kernel_DV = self.param(
      'kernel',
      with_axes(initializers.head(cfg), 'embed', 'vocab'),
      (cfg.d_model, cfg.vocab_size),
      cfg.param_dtype,
    )
    return kernel_DV.T


class Norm(nn.Module):
  """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) of the last dimension.

  Statistics are float32; the output keeps the dtype of `x`.
  """

  kind: str
  use_bias: bool
  eps: float
  param_dtype: str
  axis: str = 'norm'

  @nn.compact
  def __call__(self, x):
    width = (x.shape[-1],)
    y = x.astype(jnp.float32)
    if self.kind == 'layernorm':
      y = y - y.mean(-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
    ones = with_axes(nn.initializers.ones, self.axis)
    y = y * self.param('scale', ones, width, self.param_dtype).astype(jnp.float32)
    if self.use_bias and self.kind == 'layernorm':
      zeros = with_axes(nn.initializers.zeros, self.axis)
      y = y + self.param('bias', zeros, width, self.param_dtype).astype(jnp.float32)
    return y.astype(x.dtype)


def make_norm(cfg, name):
  """Returns the norm of the residual stream that `cfg` asks for."""
  return Norm(cfg.norm, cfg.norm_bias, cfg.norm_eps, cfg.param_dtype, name=name)


ACTIVATIONS = {
  'gelu': nn.gelu,  # the tanh form, as in GPT-2
  'gelu_exact': lambda x: nn.gelu(x, approximate=False),
  'relu': nn.relu,
  'silu': nn.silu,
  'relu2': lambda x: jnp.square(nn.relu(x)),  # arXiv:2109.08668
  # Gated: the function of the gate. arXiv:2002.05202
  'swiglu': nn.silu,
  'geglu': nn.gelu,
  'reglu': nn.relu,
}


class MLP(nn.Module):
  """The position-wise feed-forward network, [B, T, D] -> [B, T, D]."""

  cfg: ModelConfig
  shard: Callable

  @nn.compact
  def __call__(self, x_BTD):
    cfg = self.cfg
    D, F = cfg.d_model, cfg.d_ff

    def linear(name, equation, shape, axes, init):
      return Linear(
        equation, shape, axes, init, cfg.bias, cfg.dtype, cfg.param_dtype, name=name
      )

    def widen(name):
      init = initializers.hidden(cfg, D)
      return linear(name, 'BTD,DF->BTF', (D, F), ('embed', 'mlp'), init)(x_BTD)

    up_BTF = checkpoint_name(widen('up'), 'mlp_up')
    activation = ACTIVATIONS[cfg.activation]
    if cfg.is_gated:
      hidden_BTF = activation(checkpoint_name(widen('gate'), 'mlp_gate')) * up_BTF
    else:
      hidden_BTF = activation(up_BTF)
    hidden_BTF = self.shard(hidden_BTF, 'batch', 'time', 'act_mlp')
    init = initializers.residual(cfg, F)
    return linear('down', 'BTF,FD->BTD', (F, D), ('mlp', 'embed'), init)(hidden_BTF)
