"""The attention layer: projections, positions, cache, and the kernel chosen for it."""

from collections.abc import Callable

import flax.linen as nn
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.attention import bind, dense, positions
from gpt_jax.config.schema import ModelConfig
from gpt_jax.model import initializers
from gpt_jax.model.layers import Linear, Norm, shared_input_linears
from gpt_jax.parallel.sharded_matmul import MatmulSpec
from gpt_jax.parallel.sharding import RESIDUAL_AXES, ShardingRules, constrain


class Attention(nn.Module):
  """Multi-head, grouped (arXiv:2305.13245) or multi-query attention.

  Projections emit heads before time (`BHTK`), the layout that kernels read.
  """

  cfg: ModelConfig
  attend: Callable | None
  rules: ShardingRules | None
  window: int | None

  @nn.compact
  def __call__(self, x_BTD, mask, angles_BTK2, cache, start_B, deterministic):
    """Returns `(out_BTD, cache)`; `cache` is a KVCache to extend, or None."""
    cfg = self.cfg
    H, G = cfg.num_heads, cfg.num_kv_heads
    linears = [
      self._projection('query', H, 'heads', initializers.query),
      self._projection('key', G, 'kv_heads', initializers.hidden),
      self._projection('value', G, 'kv_heads', initializers.hidden),
    ]
    q_BHTK, k_BGTK, v_BGTK = (
      constrain(self.rules, y_BHTK, *linear.product.out_axes)
      for linear, y_BHTK in zip(
        linears, shared_input_linears(linears, x_BTD), strict=True
      )
    )
    if cfg.qk_norm != 'none':  # arXiv:2010.04245; keeps scores from growing
      q_BHTK = self._head_norm('query_norm')(q_BHTK)
      k_BGTK = self._head_norm('key_norm')(k_BGTK)
    if cfg.position == 'rope':
      q_BHTK = positions.rotate(q_BHTK, angles_BTK2)
      k_BGTK = positions.rotate(k_BGTK, angles_BTK2)
    if cfg.position == 'alibi':
      mask = mask.with_slopes(positions.alibi_slopes(H))
    if cache is not None:
      cache = cache.write(k_BGTK, v_BGTK, start_B)
      k_BGTK, v_BGTK = cache.k_BGSK.astype(cfg.dtype), cache.v_BGSK.astype(cfg.dtype)
    q_BHTK = checkpoint_name(q_BHTK, 'query')
    k_BGTK = checkpoint_name(k_BGTK, 'key')
    v_BGTK = checkpoint_name(v_BGTK, 'value')
    drops = cfg.attention_dropout > 0 and not deterministic
    attend = self.attend or bind(dense.attend, cfg)
    out_BHTK = attend(
      q_BHTK, k_BGTK, v_BGTK, mask.with_window(self.window),
      dropout=nn.Dropout(cfg.attention_dropout, deterministic=False) if drops else None,
    )  # fmt: skip
    return self._output(out_BHTK), cache

  def _projection(self, name, heads, axis, init):
    cfg = self.cfg
    product = MatmulSpec(
      'BTD,DHK->BHTK', RESIDUAL_AXES, ('embed', axis, 'head_dim'),
      ('batch', 'act_' + axis, 'time', 'head_dim'),
    )  # fmt: skip
    return Linear(
      product, (cfg.d_model, heads, cfg.head_dim), init(cfg, cfg.d_model), cfg.bias,
      cfg.dtype, cfg.param_dtype, self.rules, name=name,
    )  # fmt: skip

  def _output(self, x_BHTK):
    cfg = self.cfg
    product = MatmulSpec(
      'BHTK,HKD->BTD', ('batch', 'act_heads', 'time', 'head_dim'),
      ('heads', 'head_dim', 'embed'), RESIDUAL_AXES,
    )  # fmt: skip
    return Linear(
      product, (cfg.num_heads, cfg.head_dim, cfg.d_model),
      initializers.residual(cfg, cfg.num_heads * cfg.head_dim), cfg.bias, cfg.dtype,
      cfg.param_dtype, self.rules, name='out',
    )(x_BHTK)  # fmt: skip

  def _head_norm(self, name):
    cfg = self.cfg
    return Norm(
      cfg.qk_norm, cfg.norm_bias, cfg.norm_eps, cfg.param_dtype, 'head_dim', name=name
    )
