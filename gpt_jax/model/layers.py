"""Layers with parameters: linear maps, embeddings, norms, the MLP."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.config.schema import ModelConfig
from gpt_jax.core.matmul import sum_dtype
from gpt_jax.model import activations, initializers, joined, stored
from gpt_jax.model.initializers import with_axes
from gpt_jax.parallel.sharded_matmul import MatmulSpec, sharded_matmul
from gpt_jax.parallel.sharding import (
  ShardingRules,
  activation_axes,
  constrain,
  parameter_axes,
)
from gpt_jax.quantization import fake, packed, rows
from gpt_jax.quantization.linear_map import LinearMap


class Linear(nn.Module):
  """`x` times a kernel by an einsum such as 'BTD,DHK->BHTK', plus a bias.

  Letters stand for sizes in `cfg` and for logical axes (`sharding.PARAMETER_AXES`).
  """

  cfg: ModelConfig
  rules: ShardingRules | None
  equation: str
  initializer: Callable  # (cfg, fan_in) -> initializer, as `initializers.hidden`
  own_bias: bool | None  # None: as `cfg.bias`

  @property
  def spec(self):
    return MatmulSpec(self.equation)

  def setup(self):
    cfg = self.cfg
    _, letters, out = self.spec.letters
    fan_in = math.prod(_sizes(cfg, [letter for letter in letters if letter not in out]))
    init = with_axes(self.initializer(cfg, fan_in), *parameter_axes(letters))
    shape = _sizes(cfg, letters)
    if cfg.quantization == 'none':
      self.kernel = self.param('kernel', init, shape, cfg.param_dtype)
    else:
      axes = parameter_axes(letters)
      linear = LinearMap('', self.spec.letters, shape, axes, self.has_bias)
      self.kernel = stored.kernel(self, linear, self.initializer(cfg, fan_in))
    if self.has_bias:
      kept = [letter for letter in letters if letter in out]
      # Of arrays with a width only matrices are sharded; why: `parallel.sharding`.
      axes = ('embed_vector' if a == 'embed' else a for a in parameter_axes(kept))
      init = with_axes(nn.initializers.zeros, *axes)
      self.bias = self.param('bias', init, _sizes(cfg, kept), cfg.param_dtype)

  @property
  def has_bias(self):
    return self.cfg.bias if self.own_bias is None else self.own_bias

  def __call__(self, x):
    return shared_input_linears([self], x)[0]

  def matmul_kernel(self):
    """Returns the kernel as matmuls read it: where adapters hook in."""
    if packed.is_packed(self.kernel):
      return stored.gathered_kernel(self)
    kernel = self.kernel.astype(self.cfg.dtype)
    return fake.rounded(kernel, self.cfg, self.spec) if self.is_rounded else kernel

  def matmul_spec(self):
    """Returns the MatmulSpec of that kernel, which may have been gathered."""
    if packed.is_packed(self.kernel):
      return stored.gathered_spec(self) or self.spec
    return self.spec

  @property
  def is_rounded(self):
    """Returns whether the kernel trains rounded: quantization-aware training."""
    return self.cfg.fake_quantization != 'none'

  def finish(self, x, y):
    """Returns the output for the input `x`, of which `y` is the matmul: with the bias.

    Adapters add to it here.
    """
    del x
    if not self.has_bias:
      return y
    _, letters, out = self.spec.letters
    shape = [_sizes(self.cfg, letter)[0] if letter in letters else 1 for letter in out]
    return _add_broadcast(y, self.bias.reshape(shape))


def _sizes(cfg, letters):
  """Returns the shape of an array whose dimensions have `letters`."""
  sizes = dict(
    D=cfg.d_model, F=cfg.d_ff, H=cfg.num_heads, G=cfg.num_kv_heads, K=cfg.head_dim
  )
  return tuple(sizes[letter] for letter in letters)


@jax.custom_vjp
def _add_broadcast(y, bias):
  return y + bias.astype(y.dtype)


def _bias_gradient(bias, cotangent):
  # In float32: over all tokens a sum in bfloat16 gets stuck.
  broadcast = [axis for axis, size in enumerate(bias.shape) if size == 1]
  total = cotangent.sum(broadcast, keepdims=True, dtype=sum_dtype(cotangent))
  return cotangent, total.astype(bias.dtype)


_add_broadcast.defvjp(lambda y, bias: (_add_broadcast(y, bias), bias), _bias_gradient)


def shared_input_linears(linears, x):
  """Returns the outputs of `linears` for the same `x`; see `sharded_matmul`."""
  if (leaves := joined.leaves_of(linears)) is not None:
    cfg, equations = linears[0].cfg, [linear.equation for linear in linears]
    return joined.multiply(leaves, equations, functools.partial(_sizes, cfg), x)
  if all(stored.multiplies(linear) for linear in linears):
    ys = [stored.multiply(linear, x) for linear in linears]
    return [linear.finish(x, y) for linear, y in zip(linears, ys, strict=True)]
  x_read = stored.rounded_inputs(linears[0], x)
  kernels = [linear.matmul_kernel() for linear in linears]
  specs = [linear.matmul_spec() for linear in linears]
  ys = sharded_matmul(linears[0].rules, specs, x_read, kernels)
  return [linear.finish(x, y) for linear, y in zip(linears, ys, strict=True)]


class Embed(nn.Module):
  """An embedding [rows, D], rows along the logical `axis`; may be the output head."""

  cfg: ModelConfig
  rows: int
  axis: str

  def setup(self):
    cfg = self.cfg
    init = initializers.embedding(cfg)
    shape = (self.rows, cfg.d_model)
    if cfg.quantized_embedding and self.axis == 'vocab':
      self.embedding = stored.embedding(self, init, shape, (self.axis, 'embed'))
    else:
      boxed = with_axes(init, self.axis, 'embed')
      self.embedding = self.param('embedding', boxed, shape, cfg.param_dtype)

  def __call__(self, ids_BT):
    rows_BTD = self.embedding[ids_BT]
    if packed.is_packed(self.embedding):
      scale_VG = stored.part(self, rows.SCALE)
      rows_BTD = rows.dequantize(rows_BTD, scale_VG[ids_BT])
      rows_BTD = rows_BTD.astype(self.cfg.param_dtype)
    return rows_BTD.astype(self.cfg.dtype)

  def table(self):
    """Returns the embedding in full."""
    if not packed.is_packed(self.embedding):
      return self.embedding
    scale_VG = stored.part(self, rows.SCALE)
    return rows.dequantize(self.embedding, scale_VG).astype(self.cfg.param_dtype)


class Norm(nn.Module):
  """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) of the last dimension.

  Statistics are float32; the output keeps the dtype of `x`.
  """

  cfg: ModelConfig
  kind: str  # 'layernorm' or 'rmsnorm'
  axis: str = 'embed_vector'  # the logical axis of scale and bias

  @nn.compact
  def __call__(self, x):
    cfg, width = self.cfg, (x.shape[-1],)
    y = x.astype(jnp.float32)
    if self.kind == 'layernorm':
      y = y - y.mean(-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + cfg.norm_eps)
    start = nn.initializers.zeros if cfg.norm_zero_centered else nn.initializers.ones
    scale = self.param('scale', with_axes(start, self.axis), width, cfg.param_dtype)
    y = y * (scale.astype(jnp.float32) + (1 if cfg.norm_zero_centered else 0))
    if cfg.norm_bias and self.kind == 'layernorm':
      zeros = with_axes(nn.initializers.zeros, self.axis)
      y = y + self.param('bias', zeros, width, cfg.param_dtype).astype(jnp.float32)
    return y.astype(x.dtype)


def _in_float32(activation):
  """Returns `activation` computed in float32 and rounded once, forward and backward."""
  # In bfloat16 XLA:CPU rounds after each of its steps, which takes twice as long. Saved
  # for the backward pass is the input alone, in its own dtype.

  def rounded(x):
    return activation(x.astype(sum_dtype(x))).astype(x.dtype)

  def backward(x, cotangent):
    # XLA:CPU would reuse values of the forward pass, and so store them in float32.
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
    cfg, rules = self.cfg, self.rules
    activation = activations.lookup(cfg)
    is_gated = activations.is_gated(activation)
    up_BTF, *gates_BTF = shared_input_linears(
      [
        Linear(cfg, rules, 'BTD,DF->BTF', initializers.hidden, cfg.mlp_bias, name=name)
        for name in (['up', 'gate'] if is_gated else ['up'])
      ],
      x_BTD,
    )
    up_BTF = checkpoint_name(up_BTF, 'mlp_up')
    activation = _in_float32(activation)
    if is_gated:
      hidden_BTF = activation(checkpoint_name(gates_BTF[0], 'mlp_gate')) * up_BTF
    else:
      hidden_BTF = activation(up_BTF)
    hidden_BTF = constrain(rules, hidden_BTF, *activation_axes('BTF'))
    # XLA:TPU would recompute the activation for each tile that reads it.
    hidden_BTF = jax.lax.optimization_barrier(hidden_BTF)
    down = Linear(
      cfg, rules, 'BTF,FD->BTD', initializers.residual, cfg.mlp_bias, name='down'
    )
    return down(hidden_BTF)
