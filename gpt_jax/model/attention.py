"""The attention layer: projections, positions, cache, and the kernel chosen for it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jax.ad_checkpoint import checkpoint_name

from gpt_jax.attention import bind, dense, scale_and_softcap
from gpt_jax.config.schema import ModelConfig
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import initializers, positions, statistics
from gpt_jax.model.layers import Linear, Norm, shared_input_linears
from gpt_jax.parallel.sharding import ShardingRules, activation_axes, constrain


class Attention(nn.Module):
  """Multi-head, grouped-query (arXiv:2305.13245) or multi-query attention."""

  cfg: ModelConfig
  attend: Callable | None
  rules: ShardingRules | None
  window: int | None
  watched: statistics.Watched = ()

  @nn.compact
  def __call__(
    self, x_BTD, mask, angles, cache, place, deterministic, tokens_BT: Any = None
  ):
    """Returns `(out_BTD, cache)`; `cache` is a KVCache to extend, or None.

    `place` is the `cache.Place` of the tokens in it.
    """
    cfg, position = self.cfg, positions.lookup(self.cfg)
    # Projections emit heads before time, the layout that kernels read.
    q_BHTK, k_BGTK, v_BGTK = shared_input_linears(
      [
        Linear(cfg, self.rules, equation, initializer, cfg.qkv_bias, name=name)
        for name, equation, initializer in (
          ('query', 'BTD,DHK->BHTK', initializers.query),
          ('key', 'BTD,DGK->BGTK', initializers.hidden),
          ('value', 'BTD,DGK->BGTK', initializers.hidden),
        )
      ],
      x_BTD,
    )
    q_BHTK = constrain(self.rules, q_BHTK, *activation_axes('BHTK'))
    k_BGTK = constrain(self.rules, k_BGTK, *activation_axes('BGTK'))
    v_BGTK = constrain(self.rules, v_BGTK, *activation_axes('BGTK'))
    if cfg.qk_norm != 'none':  # arXiv:2010.04245; keeps scores from growing
      q_BHTK = Norm(cfg, cfg.qk_norm, 'head_dim', name='query_norm')(q_BHTK)
      k_BGTK = Norm(cfg, cfg.qk_norm, 'head_dim', name='key_norm')(k_BGTK)
    if position.rotate:
      q_BHTK = position.rotate(q_BHTK, angles)
      k_BGTK = position.rotate(k_BGTK, angles)
    if position.slopes:
      mask = mask.with_slopes(position.slopes(cfg))
    if cache is not None:
      cache, k_BGTK, v_BGTK, positions_BS = cache.extend(k_BGTK, v_BGTK, place)
      cache, mask = cache.constrain(self.rules), mask.with_positions(positions_BS)
      q_BHTK = q_BHTK.astype(k_BGTK.dtype)
    q_BHTK = checkpoint_name(q_BHTK, 'query')
    k_BGTK = checkpoint_name(k_BGTK, 'key')
    v_BGTK = checkpoint_name(v_BGTK, 'value')
    drops = cfg.attention_dropout > 0 and not deterministic
    dropout = nn.Dropout(cfg.attention_dropout, deterministic=False) if drops else None
    mask = mask.with_window(self.window)
    statistics.show(
      self,
      self.watched,
      'attention',
      lambda: statistics.Attention(
        q_BHTK, k_BGTK, mask, tokens_BT, *scale_and_softcap(self._kernel())
      ),
    )
    out_BHTK = self.run_kernel(q_BHTK, k_BGTK, v_BGTK, mask, dropout)
    out = Linear(
      cfg, self.rules, 'BHTK,HKD->BTD', initializers.residual, cfg.out_bias, name='out'
    )
    return out(out_BHTK.astype(cfg.dtype)), cache

  def run_kernel(self, q_BHTK, k_BGSK, v_BGSK, mask, dropout):
    """Returns attention's output [B, H, T, K]; adapters add keys and values here."""
    return self._kernel()(q_BHTK, k_BGSK, v_BGSK, mask, dropout=dropout)

  @nn.nowrap
  def _kernel(self):
    if self.attend is not None:
      return self.attend
    if not self.is_initializing():
      # A ModelConfig does not know attention.scale and attention.softcap.
      raise ConfigError(
        'GPT(cfg) without `attend` has shapes and initial parameters only; to'
        ' compute, give it attend=attention.choose_kernel(config)[1].'
      )
    return bind(dense.attend, self.cfg)
