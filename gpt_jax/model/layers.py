"""Layers with parameters: a linear map by its einsum, a table, norms, the MLP."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.config.schema import ModelConfig
from gpt_jax.core.matmul import sum_dtype
from gpt_jax.model import initializers
from gpt_jax.model.initializers import with_axes
from gpt_jax.parallel.sharded_matmul import MatmulSpec, sharded_matmul
from gpt_jax.parallel.sharding import RESIDUAL_AXES, ShardingRules, constrain


class Linear(nn.Module):
  """`x` times a kernel, as `product` says, plus a bias over the kernel's own outputs.

  `shape` is the kernel's, in the order of the equation's letters.
  """

  product: MatmulSpec
  shape: tuple[int, ...]
  initializer: Callable
  use_bias: bool
  dtype: str
  param_dtype: str
  rules: ShardingRules | None = None

  def setup(self):
    axes = self.product.kernel_axes
    init = with_axes(self.initializer, *axes)
    self.kernel = self.param('kernel', init, self.shape, self.param_dtype)
    if self.use_bias:
      _, letters, out = self.product.letters
      kept = [i for i, letter in enumerate(letters) if letter in out]
      # Of the width only matrices are cut; why: `parallel.sharding`.
      names = ('embed_vector' if axes[i] == 'embed' else axes[i] for i in kept)
      init = with_axes(nn.initializers.zeros, *names)
      shape = tuple(self.shape[i] for i in kept)
      self.bias = self.param('bias', init, shape, self.param_dtype)

  def __call__(self, x):
    return shared_input_linears([self], x)[0]

  def add_bias(self, y):
    """Returns `y` plus the bias, which dimensions that are not the kernel's repeat."""
    if not self.use_bias:
      return y
    _, letters, out = self.product.letters
    size = dict(zip(letters, self.shape, strict=True))
    shape = [size.get(letter, 1) for letter in out]
    return _add_repeated(y, self.bias.reshape(shape))


@jax.custom_vjp
def _add_repeated(y, bias):
  """Returns `y` plus `bias`, of sizes equal or 1, in the dtype of `y`.

  Its gradient is a sum over all tokens, too long for bfloat16: it is float32's.
  """
  return y + bias.astype(y.dtype)


def _bias_gradient(bias, cotangent):
  repeated = [axis for axis, size in enumerate(bias.shape) if size == 1]
  total = cotangent.sum(repeated, keepdims=True, dtype=sum_dtype(cotangent))
  return cotangent, total.astype(bias.dtype)


_add_repeated.defvjp(lambda y, bias: (_add_repeated(y, bias), bias), _bias_gradient)


def shared_input_linears(linears, x):
  """Returns what each of `linears` makes of the same `x`; see `products.sharded_matmul`."""
  kernels = [linear.kernel.astype(linear.dtype) for linear in linears]
  products = [linear.product for linear in linears]
  ys = sharded_matmul(linears[0].rules, products, x, kernels)
  return [linear.add_bias(y) for linear, y in zip(linears, ys, strict=True)]


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
  axis: str = 'embed_vector'

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


def _in_float32(activation):
  """Returns `activation` computed in float32 and rounded once, also on the way back.

  In bfloat16 XLA:CPU rounds after each of its steps, which takes twice as long. Kept
  for the backward pass is the input alone, in its own type.
  """

  def rounded(x):
    return activation(x.astype(sum_dtype(x))).astype(x.dtype)

  def backward(x, cotangent):
    # XLA:CPU would share the forward pass' values, and so write them down in float32.
    x = jax.lax.platform_dependent(
      x, cpu=jax.lax.optimization_barrier, default=lambda x: x
    )
    return jax.vjp(rounded, x)[1](cotangent)

  call = jax.custom_vjp(rounded)
  call.defvjp(lambda x: (rounded(x), x), backward)
  return call


class MLP(nn.Module):
  """The position-wise feed-forward network, [B, T, D] -> [B, T, D]."""

  cfg: ModelConfig
  rules: ShardingRules | None = None

  @nn.compact
  def __call__(self, x_BTD):
    cfg = self.cfg
    D, F = cfg.d_model, cfg.d_ff

    def linear(name, product, shape, init):
      return Linear(
        product, shape, init, cfg.bias, cfg.dtype, cfg.param_dtype, self.rules,
        name=name,
      )  # fmt: skip

    hidden_axes = ('batch', 'time', 'act_mlp')
    widen = MatmulSpec('BTD,DF->BTF', RESIDUAL_AXES, ('embed', 'mlp'), hidden_axes)
    narrow = MatmulSpec('BTF,FD->BTD', hidden_axes, ('mlp', 'embed'), RESIDUAL_AXES)
    names = ['up', 'gate'] if cfg.is_gated else ['up']
    wide = [linear(name, widen, (D, F), initializers.hidden(cfg, D)) for name in names]
    up_BTF, *gates_BTF = shared_input_linears(wide, x_BTD)
    up_BTF = checkpoint_name(up_BTF, 'mlp_up')
    activation = _in_float32(ACTIVATIONS[cfg.activation])
    if cfg.is_gated:
      hidden_BTF = activation(checkpoint_name(gates_BTF[0], 'mlp_gate')) * up_BTF
    else:
      hidden_BTF = activation(up_BTF)
    hidden_BTF = constrain(self.rules, hidden_BTF, *hidden_axes)
    # Made once: XLA:TPU would compute the activation anew for each tile that reads it.
    hidden_BTF = jax.lax.optimization_barrier(hidden_BTF)
    return linear('down', narrow, (F, D), initializers.residual(cfg, F))(hidden_BTF)
