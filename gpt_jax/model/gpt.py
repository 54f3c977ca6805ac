"""The GPT: read this file first.

tokens -> embedding (+ positions) -> blocks -> norm -> logits. Shape letters are those
of `core.types`. What a block does by config is visible in `Block`; parameters' shapes
are in `layers.py` and `attention.py`, how they start in `initializers.py`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax.attention import masks
from gpt_jax.config.schema import ModelConfig, parse_layer
from gpt_jax.core.matmul import einsum
from gpt_jax.model import positions, remat, statistics, stored
from gpt_jax.model.attention import Attention
from gpt_jax.model.cache import Place
from gpt_jax.model.initializers import with_axes
from gpt_jax.model.layers import MLP, Embed, Norm
from gpt_jax.model.output_layer import (
  Head,
  HeadTransform,
  Pooler,
  scale_and_cap_logits,
)
from gpt_jax.parallel.sharding import (
  EMBED_AXES,
  RESIDUAL_AXES,
  ShardingRules,
  constrain,
)

TRANSPOSED = 'embedding_DV'
"""Beside the embedding, in prepared parameters only: the head of a single token."""


class Block(nn.Module):
  """One layer: attention and MLP, each with its norm, added to the residual stream."""

  cfg: ModelConfig
  attend: Callable | None
  rules: ShardingRules | None
  window: int | None
  deterministic: bool
  watched: statistics.Watched = ()

  @nn.compact
  def __call__(
    self, x_BTD, mask, angles, cache, place, depth, tokens_BT=None, drop_rate=None
  ):
    """Returns `(x_BTD, cache)`; `depth` in (0, 1] is the block's place in the stack.

    Args:
      tokens_BT: the ids of the row, where statistics are `watched`.
      drop_rate: at which a row skips the block in training; None: never.
    """
    cfg, before_BTD = self.cfg, x_BTD
    attention = Attention(
      cfg, self.attend, self.rules, self.window, self.watched, name='attention'
    )
    mlp = MLP(cfg, self.rules, name='mlp')

    if angles is not None:
      angles = angles.local if self.window else angles.everywhere

    def attend(y_BTD):
      nonlocal cache
      y_BTD, cache = attention(
        y_BTD, mask, angles, cache, place, self.deterministic, tokens_BT
      )
      return y_BTD

    if cfg.block == 'attention_only':
      x_BTD = self._add(x_BTD, attend, 'attention_norm', depth)
    elif cfg.block == 'parallel':  # PaLM, arXiv:2204.02311, section 2
      normed_BTD = self._norm('attention_norm', x_BTD)
      update_BTD = attend(normed_BTD) + mlp(normed_BTD)
      x_BTD = self._finish(x_BTD, x_BTD + self._drop(update_BTD, depth), 'mlp_norm')
    elif cfg.block == 'parallel_norms':  # GPT-NeoX, arXiv:2204.06745, section 2.1
      update_BTD = attend(self._norm('attention_norm', x_BTD))
      update_BTD += mlp(self._norm('mlp_norm', x_BTD))
      x_BTD = self._finish(x_BTD, x_BTD + self._drop(update_BTD, depth), 'mlp_norm')
    else:
      x_BTD = self._add(x_BTD, attend, 'attention_norm', depth)
      x_BTD = self._add(x_BTD, mlp, 'mlp_norm', depth)
    if drop_rate is not None and not self.deterministic:
      # Nothing is scaled: arXiv:2404.16710, section 4.1.1.
      shape_B11 = (len(x_BTD), 1, 1)
      is_kept_B11 = jax.random.bernoulli(
        self.make_rng('dropout'), 1 - drop_rate, shape_B11
      )
      x_BTD = jnp.where(is_kept_B11, x_BTD, before_BTD)
    statistics.show(
      self, self.watched, 'stream', lambda: statistics.Stream(x_BTD, mask)
    )
    return x_BTD, cache

  def _add(self, x_BTD, sublayer, norm_name, depth):
    """Returns the stream after `sublayer`, with the norm where the config wants it."""
    if self.cfg.norm_position == 'post':
      y_BTD = sublayer(x_BTD)
    else:
      y_BTD = sublayer(self._norm(norm_name, x_BTD))
    if self.cfg.norm_position == 'sandwich':
      y_BTD = self._norm(norm_name + '_out', y_BTD)
    return self._finish(x_BTD, x_BTD + self._drop(y_BTD, depth), norm_name)

  def _norm(self, name, x_BTD):
    return Norm(self.cfg, self.cfg.norm, name=name)(x_BTD)

  def _finish(self, before_BTD, x_BTD, norm_name):
    """Returns `x_BTD` after a post-norm, in the stream's dtype and sharding."""
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
  """The blocks of one cycle of `layer_pattern`: what the scan over layers repeats."""

  cfg: ModelConfig
  attend: Callable | None
  rules: ShardingRules | None
  deterministic: bool
  watched: statistics.Watched = ()

  @nn.compact
  def __call__(
    self, x_BTD, caches, index, mask, angles, place, tokens_BT=None, drop_rate_L=None
  ):
    """Returns `(x_BTD, caches)`; `index` counts groups from 0."""
    cfg = self.cfg
    new_caches = {}
    for i, layer in enumerate(cfg.layer_pattern):
      name = f'block_{i}'
      block = remat.remat_block(Block, cfg, i)(
        cfg, self.attend, self.rules, parse_layer(layer), self.deterministic,
        self.watched, name=name,
      )  # fmt: skip
      layer_index = index * len(cfg.layer_pattern) + i
      depth = (layer_index + 1) / cfg.num_layers
      drop_rate = None if drop_rate_L is None else drop_rate_L[layer_index]
      cache = None if caches is None else caches[name]
      x_BTD, new_caches[name] = block(
        x_BTD, mask, angles, cache, place, depth, tokens_BT, drop_rate
      )
    return x_BTD, None if caches is None else new_caches


class GPT(nn.Module):
  """A Transformer over tokens; `attend` is that of `attention.choose_kernel`.

  Without `attend` only shapes and `init` are to be had: a ModelConfig does not know the
  scale and soft-cap of attention.
  """

  cfg: ModelConfig
  attend: Callable | None = None
  rules: ShardingRules | None = None
  task_head: nn.Module | None = None  # of `heads`; None: logits over the vocabulary
  watched: statistics.Watched = ()  # sown into the collection `statistics`

  def __call__(
    self, tokens_BT, mask=None, positions_BT=None, cache=None, token_types_BT=None, *,
    deterministic=True,
  ):  # fmt: skip
    """Returns `(logits_BTV, or the task head's outputs, float32; cache)` for int32 ids.

    None: a causal `masks.Mask`, positions from 0 or the cache's end, no `cache` (of
    `cache.empty_cache`) to extend, and token types of 0. `count_B` of a cache says how
    many tokens of each row are real. `deterministic` False applies dropout. A model
    without output layer and task head returns its stream.
    """
    x_BTD, head_VD, cache = self.hidden(
      tokens_BT, mask, positions_BT, cache, token_types_BT, deterministic=deterministic
    )
    if self.task_head is not None:
      return self.task_head(x_BTD), cache
    if head_VD is None:
      return x_BTD.astype(jnp.float32), cache
    if (leaves := stored.head_leaves(self)) is not None:
      logits_BTV = stored.multiply_head(self.cfg, x_BTD, leaves)
    else:
      equation, head = 'BTD,VD->BTV', head_VD
      if x_BTD.shape[:2] == (1, 1) and (head_DV := self._head_DV()) is not None:
        equation, head = 'BTD,DV->BTV', head_DV
      logits_BTV = einsum(equation, x_BTD, head.astype(x_BTD.dtype), jnp.float32)
    if self.cfg.head_bias:
      bias_V = nn.meta.unbox(self.get_variable('params', 'head_bias'))
      logits_BTV += bias_V.astype(jnp.float32)
    logits_BTV = scale_and_cap_logits(self.cfg, logits_BTV)
    return constrain(self.rules, logits_BTV, 'batch', 'time', 'act_vocab'), cache

  def _head_DV(self):
    """Returns the head with its sums along columns, None where it is not stored so."""
    if self.cfg.tie_embeddings:
      return self.get_variable('params', 'embed').get(TRANSPOSED)
    return nn.meta.unbox(self.get_variable('params', 'head')['kernel'])

  @nn.compact
  def hidden(
    self, tokens_BT, mask=None, positions_BT=None, cache=None, token_types_BT=None, *,
    deterministic=True, drop_rate_L=None,
  ):  # fmt: skip
    """Returns `(x_BTD, head_VD, cache)`: the matmul of the first two is raw logits.

    They lack `model.head_bias`. For losses that never hold all logits, or pool.
    `head_VD` is as stored, None where there is a task head or no output layer. Without
    `deterministic`, each row skips whole layers at `drop_rate_L`.
    """
    cfg = self.cfg
    mask = masks.causal() if mask is None else mask
    place: Any = None
    caches: Any = None
    positions_BT = self.token_positions(tokens_BT, positions_BT, cache)
    if cache is not None:
      place = Place(cache['length_B'], cache.get('count_B'))
      caches = cache['layers']
      mask = masks.Mask(
        causal=mask.causal, prefix_B=mask.prefix_B, query_start_B=place.start_B
      )

    embed = Embed(cfg, cfg.vocab_size, 'vocab', name='embed')
    x_BTD = self._embed(embed, tokens_BT, positions_BT, token_types_BT, deterministic)
    angles = positions.angles_of_layers(cfg, positions_BT)
    watched_BT = tokens_BT if self.watched else None
    statistics.show(
      self, self.watched, 'stream', lambda: statistics.Stream(x_BTD, mask)
    )
    rest = (mask, angles, place, watched_BT, drop_rate_L)
    x_BTD, caches = self._blocks(x_BTD, caches, rest, deterministic)
    if cfg.norm_position != 'post':  # post-norm blocks end in a norm already
      x_BTD = Norm(cfg, cfg.norm, name='final_norm')(x_BTD)
    if cfg.pooler and self.is_initializing():  # else applied by whoever reads it
      Pooler(cfg, name='pooler')(x_BTD)
    head_VD: Any = None
    if self.task_head is None and cfg.head != 'none':
      if cfg.head == 'transform':
        x_BTD = HeadTransform(cfg, name='head_transform')(x_BTD)
      head_VD = embed.table() if cfg.tie_embeddings else Head(cfg, name='head')()
      if cfg.head_bias:
        zeros = with_axes(nn.initializers.zeros, 'vocab_vector')
        self.param('head_bias', zeros, (cfg.vocab_size,), cfg.param_dtype)
    if cache is not None:
      count_B = tokens_BT.shape[1] if place.count_B is None else place.count_B
      cache = {'layers': caches, 'length_B': place.start_B + count_B}
    return x_BTD, head_VD, cache

  def token_positions(self, tokens_BT, positions_BT, cache):
    """Returns the positions of tokens, as given or as `__call__` says.

    Adapters hook in here.
    """
    if positions_BT is not None:
      return positions_BT
    positions_BT = jnp.arange(tokens_BT.shape[1])[None]
    return positions_BT if cache is None else positions_BT + cache['length_B'][:, None]

  def apply_task_head(self, x_BTD):
    """Returns the task head's outputs for any [..., D], float32 [..., C]."""
    assert self.task_head is not None
    return self.task_head(x_BTD)

  def _embed(self, embed, tokens_BT, positions_BT, token_types_BT, deterministic):
    cfg, position = self.cfg, positions.lookup(self.cfg)
    x_BTD = embed(tokens_BT)
    if cfg.scale_embeddings:
      x_BTD = x_BTD * jnp.asarray(cfg.d_model**0.5, x_BTD.dtype)
    if position.embed:
      x_BTD += position.embed(cfg, positions_BT).astype(x_BTD.dtype)
    if cfg.token_types:
      token_type = Embed(cfg, cfg.token_types, 'position', name='token_type')
      if token_types_BT is None:
        token_types_BT = jnp.zeros_like(tokens_BT)
      x_BTD += token_type(token_types_BT)
    # Rows of several embeddings are summed where their columns lie, and travel once.
    x_BTD = constrain(self.rules, x_BTD, *EMBED_AXES)
    x_BTD = constrain(self.rules, x_BTD, *RESIDUAL_AXES)
    if cfg.norm_position == 'post':  # as BERT: block 1 reads a normed stream
      x_BTD = Norm(cfg, cfg.norm, name='embed_norm')(x_BTD)
    if cfg.embed_dropout and not deterministic:
      x_BTD = nn.Dropout(cfg.embed_dropout, deterministic=False)(x_BTD)
    return x_BTD

  def _blocks(self, x_BTD, caches, rest, deterministic):
    """Returns the stream after all blocks, and their caches."""
    cfg = self.cfg
    num_groups = cfg.num_layers // len(cfg.layer_pattern)
    fields = (cfg, self.attend, self.rules, deterministic, self.watched)
    if cfg.scan_layers:
      in_axes: Any = (0, 0, *(nn.broadcast for _ in rest))  # flax says int
      scanned = nn.scan(
        Group,
        variable_axes={
          'params': 0,
          'intermediates': 0,
          'losses': 0,
          statistics.COLLECTION: 0,
        },  # fmt: skip
        split_rngs={'params': True, 'dropout': True},
        in_axes=in_axes,
        length=num_groups,
        metadata_params={nn.PARTITION_NAME: 'layers'},
      )
      layers = scanned(*fields, name='layers')
      return remat.apply_scanned(
        self, layers, x_BTD, caches, jnp.arange(num_groups), *rest
      )
    new_caches = []
    for i in range(num_groups):
      group = Group(*fields, name=f'layers_{i}')
      old = None if caches is None else caches[i]
      x_BTD, new = group(x_BTD, old, i, *rest)
      new_caches.append(new)
    return x_BTD, None if caches is None else new_caches
