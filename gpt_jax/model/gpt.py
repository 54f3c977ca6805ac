"""The GPT: read this file first.

tokens -> table (+ positions) -> L blocks -> norm -> logits. A block adds attention and
an MLP to the residual stream. Shape letters are those of `types.py`. Everything a block
does by config is visible in `Block`; parameters' shapes are in `layers.py` and
`attention.py`, how they start in `initializers.py`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.attention import cache as kv_cache
from gpt_jax.attention import masks, positions
from gpt_jax.config.schema import ModelConfig, parse_layer
from gpt_jax.core.matmul import einsum
from gpt_jax.model import initializers
from gpt_jax.model.attention import Attention
from gpt_jax.model.layers import MLP, Embed, Head, make_norm
from gpt_jax.parallel.sharding import (
  EMBED_AXES,
  RESIDUAL_AXES,
  ShardingRules,
  constrain,
)

REMAT_POLICIES = {
  'full': None,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'names': jax.checkpoint_policies.save_only_these_names(
    'query', 'key', 'value', 'attended', 'mlp_up', 'mlp_gate'
  ),
}


class Block(nn.Module):
  """One layer: attention and MLP, each with its norm, added to the stream."""

  cfg: ModelConfig
  attend: Callable | None
  rules: ShardingRules | None
  window: int | None
  deterministic: bool

  @nn.compact
  def __call__(self, x_BTD, mask, angles_BTK2, cache, start_B, depth):
    """Returns `(x_BTD, cache)`; `depth` in (0, 1] is where this block stands."""
    cfg = self.cfg
    attention = Attention(cfg, self.attend, self.rules, self.window, name='attention')
    mlp = MLP(cfg, self.rules, name='mlp')

    def attend(y_BTD):
      nonlocal cache
      y_BTD, cache = attention(
        y_BTD, mask, angles_BTK2, cache, start_B, self.deterministic
      )
      return y_BTD

    if cfg.block == 'parallel':  # PaLM, arXiv:2204.02311, section 2
      normed_BTD = self._norm('attention_norm', x_BTD)
      update_BTD = attend(normed_BTD) + mlp(normed_BTD)
      x_BTD = self._after(x_BTD, x_BTD + self._drop(update_BTD, depth), 'mlp_norm')
    else:
      x_BTD = self._add(x_BTD, attend, 'attention_norm', depth)
      x_BTD = self._add(x_BTD, mlp, 'mlp_norm', depth)
    return x_BTD, cache

  def _add(self, x_BTD, sublayer, norm_name, depth):
    """Returns the stream after `sublayer`, with the norm where the config wants it."""
    if self.cfg.norm_position == 'post':
      y_BTD = sublayer(x_BTD)
    else:
      y_BTD = sublayer(self._norm(norm_name, x_BTD))
    if self.cfg.norm_position == 'sandwich':
      y_BTD = self._norm(norm_name + '_out', y_BTD)
    return self._after(x_BTD, x_BTD + self._drop(y_BTD, depth), norm_name)

  def _norm(self, name, x_BTD):
    return make_norm(self.cfg, name)(x_BTD)

  def _after(self, before_BTD, x_BTD, norm_name):
    """Returns `x_BTD` normed if norms come after, and pinned to its mesh axes."""
    if self.cfg.norm_position == 'post':
      x_BTD = self._norm(norm_name, x_BTD)
    return constrain(self.rules, x_BTD.astype(before_BTD.dtype), *RESIDUAL_AXES)

  def _drop(self, y_BTD, depth):
    """Returns a branch after dropout and stochastic depth (arXiv:1603.09382)."""
    if self.deterministic:
      return y_BTD
    if self.cfg.residual_dropout:
      y_BTD = nn.Dropout(self.cfg.residual_dropout, deterministic=False)(y_BTD)
    if self.cfg.stochastic_depth:
      keep = 1 - self.cfg.stochastic_depth * depth
      shape_B11 = (y_BTD.shape[0], 1, 1)
      kept_B11 = jax.random.bernoulli(self.make_rng('dropout'), keep, shape_B11)
      y_BTD = y_BTD * (kept_B11 / keep).astype(y_BTD.dtype)
    return y_BTD


class Group(nn.Module):
  """The blocks of one turn of `layer_pattern`: what the scan over layers repeats."""

  cfg: ModelConfig
  attend: Callable | None
  rules: ShardingRules | None
  deterministic: bool

  @nn.compact
  def __call__(self, x_BTD, caches, index, mask, angles_BTK2, start_B):
    """Returns `(x_BTD, caches)`; `index` counts groups from 0."""
    cfg = self.cfg
    new_caches = {}
    for i, layer in enumerate(cfg.layer_pattern):
      name = f'block_{i}'
      block = _block_class(cfg, i)(
        cfg, self.attend, self.rules, parse_layer(layer),
        self.deterministic, name=name,
      )  # fmt: skip
      depth = (index * len(cfg.layer_pattern) + i + 1) / cfg.num_layers
      cache = None if caches is None else caches[name]
      x_BTD, new_caches[name] = block(x_BTD, mask, angles_BTK2, cache, start_B, depth)
    return x_BTD, None if caches is None else new_caches


def _block_class(cfg, i):
  """Returns `Block`, or what recomputes it in the backward pass, for place `i` of the
  pattern."""
  if cfg.remat not in REMAT_POLICIES:
    return Block
  # The barrier keeps XLA from merging what is recomputed with the forward pass, which
  # a scan keeps apart anyway, and from recomputing a block before its turn. The last
  # one of the pattern comes first there: it would only delay its weights' gather.
  last = i == len(cfg.layer_pattern) - 1
  prevent_cse = not (cfg.scan_layers and last)
  return nn.remat(Block, policy=REMAT_POLICIES[cfg.remat], prevent_cse=prevent_cse)


def _apply_with_late_backward(layers, x_BTD, *rest):
  """Returns the stream [B, T, D] after scanned `layers`; their backward pass waits.

  Between slices XLA:TPU peels the first turn off the loop of the backward pass, and
  gathers its weights where they are first at hand: before the loss, among too little
  work to hide that. A barrier holds all that the backward pass reads until its
  cotangent is there. Weights are cast anew then, instead of being kept in the dtype of
  the products from the forward pass (figures: experiments/LOG.md).

  Where there is dropout, gradients are to be taken inside a jit or scan, not around
  one: flax closes over its key.

  Args:
    rest: what `layers` takes after the caches.
  """

  def run(layers, x_BTD, *rest):
    return layers(x_BTD, None, *rest)[0]

  def backward(vjp, cotangent_BTD):
    vjp, cotangent_BTD = jax.lax.optimization_barrier((vjp, cotangent_BTD))
    return vjp(cotangent_BTD)

  def forward(*primals):
    return nn.vjp(run, *primals)

  return nn.custom_vjp(run, forward, backward)(layers, x_BTD, *rest)


class GPT(nn.Module):
  """A Transformer over tokens.

  `cfg` is resolved: no None is left in it. `attend` and `rules` are those of
  `attention.choose_kernel`; None: the dense kernel without a soft-cap, on one device,
  which is enough for shapes and initial parameters.
  """

  cfg: ModelConfig
  attend: Callable | None = None
  rules: ShardingRules | None = None

  def __call__(
    self, tokens_BT, mask=None, positions_BT=None, cache=None, *, deterministic=True
  ):
    """Returns `(logits_BTV float32, cache)`.

    Args:
      tokens_BT: int32 ids.
      mask: `masks.Mask`; None is causal.
      positions_BT: of each token; None counts rows from 0 (from the cache's end).
      cache: from `empty_cache`, extended by these tokens; None when not decoding.
      deterministic: False drops out, with the 'dropout' random stream.
    """
    x_BTD, head_VD, cache = self.hidden(
      tokens_BT, mask, positions_BT, cache, deterministic=deterministic
    )
    table_VD = head_VD.astype(x_BTD.dtype)
    logits_BTV = einsum('BTD,VD->BTV', x_BTD, table_VD, jnp.float32)
    logits_BTV = scale_and_cap_logits(self.cfg, logits_BTV)
    return constrain(self.rules, logits_BTV, 'batch', 'time', 'act_vocab'), cache

  @nn.compact
  def hidden(
    self, tokens_BT, mask=None, positions_BT=None, cache=None, *, deterministic=True
  ):
    """Returns `(x_BTD, head_VD, cache)`: the stream after its last norm, and the table
    as it is stored, whose products with it are the raw logits.

    For a loss that never holds all logits; arguments as of `__call__`.
    """
    cfg = self.cfg
    start_B = None if cache is None else cache['length_B']
    mask = masks.causal() if mask is None else mask
    if positions_BT is None:
      positions_BT = jnp.arange(tokens_BT.shape[1])[None]
      positions_BT = (
        positions_BT if start_B is None else positions_BT + start_B[:, None]
      )
    if start_B is not None:
      mask = masks.Mask(
        causal=mask.causal, prefix_B=mask.prefix_B, query_start_B=start_B
      )

    embed = Embed(
      cfg.vocab_size, cfg.d_model, ('vocab', 'embed'), initializers.embedding(cfg),
      cfg.dtype, cfg.param_dtype, name='embed',
    )  # fmt: skip
    x_BTD = self._embed(embed, tokens_BT, positions_BT, deterministic)
    angles_BTK2 = None
    if cfg.position == 'rope':
      angles_BTK2 = positions.rope_angles(
        positions_BT, cfg.head_dim, theta=cfg.rope_theta, scaling=cfg.rope_scaling,
        factor=cfg.rope_factor, original_len=cfg.rope_original_len,
      )  # fmt: skip
    layers = None if cache is None else cache['layers']
    x_BTD, layers = self._blocks(
      x_BTD, layers, mask, angles_BTK2, start_B, deterministic
    )
    if cfg.norm_position != 'post':  # post-norm blocks end in a norm already
      x_BTD = make_norm(cfg, 'final_norm')(x_BTD)
    head_VD = embed.embedding if cfg.tie_embeddings else Head(cfg, name='head')()
    if cache is not None:
      cache = {'layers': layers, 'length_B': start_B + tokens_BT.shape[1]}
    return x_BTD, head_VD, cache

  def _embed(self, embed, tokens_BT, positions_BT, deterministic):
    cfg = self.cfg
    x_BTD = embed(tokens_BT)
    if cfg.scale_embeddings:
      x_BTD = x_BTD * jnp.asarray(cfg.d_model**0.5, x_BTD.dtype)
    if cfg.position == 'learned':
      x_BTD += Embed(
        cfg.max_seq_len, cfg.d_model, ('position', 'embed'),
        initializers.embedding(cfg), cfg.dtype, cfg.param_dtype, name='position',
      )(positions_BT)  # fmt: skip
    elif cfg.position == 'sinusoidal':
      x_BTD += positions.sinusoids(positions_BT, cfg.d_model).astype(x_BTD.dtype)
    # Rows of several tables are summed where their columns lie, and travel once.
    x_BTD = constrain(self.rules, x_BTD, *EMBED_AXES)
    x_BTD = constrain(self.rules, x_BTD, *RESIDUAL_AXES)
    if cfg.norm_position == 'post':  # as BERT: block 1 reads a normed stream
      x_BTD = make_norm(cfg, 'embed_norm')(x_BTD)
    if cfg.embed_dropout and not deterministic:
      x_BTD = nn.Dropout(cfg.embed_dropout, deterministic=False)(x_BTD)
    return x_BTD

  def _blocks(self, x_BTD, caches, mask, angles_BTK2, start_B, deterministic):
    """Returns the stream after all blocks: one scan, or unrolled to look inside."""
    cfg = self.cfg
    num_groups = cfg.num_layers // len(cfg.layer_pattern)
    fields = (cfg, self.attend, self.rules, deterministic)
    if cfg.scan_layers:
      in_axes: Any = (0, 0, nn.broadcast, nn.broadcast, nn.broadcast)  # flax says int
      scanned = nn.scan(
        Group,
        variable_axes={'params': 0, 'intermediates': 0},
        split_rngs={'params': True, 'dropout': True},
        in_axes=in_axes,
        length=num_groups,
        metadata_params={nn.PARTITION_NAME: 'layers'},
      )
      layers = scanned(*fields, name='layers')
      rest = (jnp.arange(num_groups), mask, angles_BTK2, start_B)
      # Other remat policies lose by it (experiments/LOG.md), and flax would drop
      # gradients through what is captured.
      captured = self.is_mutable_collection('intermediates')
      across_slices = self.rules is not None and self.rules.spans_slices
      if across_slices and cfg.remat == 'full' and caches is None and not captured:
        return _apply_with_late_backward(layers, x_BTD, *rest), None
      return layers(x_BTD, caches, *rest)
    new_caches = []
    for i in range(num_groups):
      group = Group(*fields, name=f'layers_{i}')
      old = None if caches is None else caches[i]
      x_BTD, new = group(x_BTD, old, i, mask, angles_BTK2, start_B)
      new_caches.append(new)
    return x_BTD, None if caches is None else new_caches


def scale_and_cap_logits(cfg, logits_BTV):
  """Returns raw logits scaled as muP wants and soft-capped, float32."""
  logits_BTV = logits_BTV * initializers.output_multiplier(cfg)
  if cfg.logit_softcap:
    logits_BTV = cfg.logit_softcap * jnp.tanh(logits_BTV / cfg.logit_softcap)
  return logits_BTV


def empty_cache(cfg, batch, length):
  """Returns the cache of `batch` rows for up to `length` tokens, in the form that the
  scanned or unrolled model reads."""
  num_groups = cfg.num_layers // len(cfg.layer_pattern)

  def layer():
    return kv_cache.empty(batch, cfg.num_kv_heads, length, cfg.head_dim, cfg.dtype)

  names = [f'block_{i}' for i in range(len(cfg.layer_pattern))]
  groups = [{name: layer() for name in names} for _ in range(num_groups)]
  if cfg.scan_layers:
    groups = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
  return {'layers': groups, 'length_B': jnp.zeros(batch, jnp.int32)}
