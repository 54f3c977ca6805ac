"""A token leaves the layers as soon as the model is sure of the next one.

CALM, arXiv:2207.07061: section 3.3 (keys and values of skipped layers), section 3.5
(measures), equation 5 (the threshold that decays).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.attention import masks
from gpt_jax.config.schema import parse_layer
from gpt_jax.core.matmul import einsum
from gpt_jax.model import exits, positions
from gpt_jax.model.cache import Place
from gpt_jax.model.gpt import Block
from gpt_jax.model.output_layer import scale_and_cap_logits


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExitRule:
  """When a token leaves."""

  measure: str
  """'margin': of the probabilities of the two likeliest tokens; 'similarity': cosine of
  the stream before and after a layer."""
  threshold: float
  """A token leaves where the measure is above it; 1: never, 0: at once."""
  decay: float = 0.0
  """tau, by which the threshold falls over a text; 0: it stays."""
  after: int = 1
  """Layers that every token goes through."""

  @classmethod
  def of(cls, cfg):
    """Returns the rule of an InferenceConfig, None where it has none."""
    if cfg.exit_measure == 'none':
      return None
    return cls(
      measure=cfg.exit_measure,
      threshold=cfg.exit_threshold,
      decay=cfg.exit_decay,
      after=cfg.exit_after,
    )

  def thresholds(self, count_B, max_new_tokens_B):
    """Returns that of each row's new token number `count_B`, float32."""
    start_B = jnp.full(count_B.shape, self.threshold, jnp.float32)
    if not self.decay:
      return start_B
    share_B = count_B / jnp.maximum(max_new_tokens_B, 1)
    return jnp.clip(0.9 * start_B + 0.1 * jnp.exp(-self.decay * share_B), 0.0, 1.0)


class LayersUsed:
  """Counts the layers that tokens went through, where there is an ExitRule."""

  def __init__(self, rule, num_layers):
    self._rule, self._num_layers = rule, num_layers
    self._layers = self._tokens = 0

  def of(self, state):
    """Returns (layers, tokens) of a DecodeState so far, all rows together."""
    if self._rule is None:
      return 0, 0
    return int(np.sum(state.layers_B)), int(np.sum(state.count_B))

  def add(self, before, state):
    """Counts what has come to `before`, which `of` gave."""
    layers, tokens = self.of(state)
    self._layers += layers - before[0]
    self._tokens += tokens - before[1]

  def report(self):
    """Returns `{'layers': {'per_token': ..., 'of': ...}}`, {} without a rule."""
    if self._rule is None:
      return {}
    per_token = self._layers / max(self._tokens, 1)
    return {'layers': {'per_token': per_token, 'of': self._num_layers}}


def read_token(model, params, token_B, cache, threshold_B, rule):
  """Returns (logits float32 [B, V], cache, layers that each row used int32 [B]).

  A row's stream stays as it is once it has left: keys and values of the layers that it
  skips are made of that. Where all rows have left, a layer computes nothing else.

  Args:
    model: a GPT with unrolled layers; `params` are prepared for decoding.
    threshold_B: of the rule's measure.
  """
  cfg, place = model.cfg, Place(cache['length_B'])
  positions_B1 = place.start_B[:, None]
  x_B1D = exits.embedded(model, params, token_B[:, None], positions_B1)
  angles = positions.angles_of_layers(cfg, positions_B1)
  mask = masks.Mask(causal=True, query_start_B=place.start_B)
  read = _Reader(model, params)
  has_left_B = threshold_B < 0
  used_B = jnp.zeros(len(token_B), jnp.int32)
  layers: list[dict[str, Any]] = []
  for i, group in enumerate(cache['layers']):
    layers.append({})
    for j, layer in enumerate(cfg.layer_pattern):
      name, number = f'block_{j}', i * len(cfg.layer_pattern) + j + 1
      block = Block(cfg, model.attend, model.rules, parse_layer(layer), True)
      inner = {'params': params[f'layers_{i}'][name]}

      def run(x_B1D, kept, has_left_B, block=block, inner=inner):
        after_B1D, kept = block.apply(inner, x_B1D, mask, angles, kept, place, 0.0)
        x_B1D = jnp.where(has_left_B[:, None, None], x_B1D, after_B1D)
        return x_B1D, kept

      def skip(x_B1D, kept, has_left_B, run=run):
        return x_B1D, run(x_B1D, kept, has_left_B)[1]

      before_B1D = x_B1D
      x_B1D, layers[-1][name] = jax.lax.cond(
        jnp.all(has_left_B), skip, run, x_B1D, group[name], has_left_B
      )
      used_B += ~has_left_B
      # After the last layer nothing is left to skip.
      if rule.after <= number < cfg.num_layers and j == len(cfg.layer_pattern) - 1:
        sure_B = jax.lax.cond(
          jnp.all(has_left_B),
          lambda *_: jnp.zeros(len(token_B), jnp.float32),
          lambda before_B1D, x_B1D: MEASURES[rule.measure](read, before_B1D, x_B1D),
          before_B1D,
          x_B1D,
        )
        has_left_B |= (sure_B > threshold_B) | (threshold_B <= 0)
  cache = cache | {'layers': layers, 'length_B': place.start_B + 1}
  return read(x_B1D), cache, used_B


class _Reader:
  """`reader(x_B1D)` -> logits float32 [B, V] of a model that ends there."""

  def __init__(self, model, params):
    self._cfg, self._params = model.cfg, params

  def __call__(self, x_B1D):
    cfg, params = self._cfg, self._params
    x_BD = exits.read(cfg, params, x_B1D)[:, 0]
    head_VD = exits.head(cfg, params).astype(x_BD.dtype)
    logits_BV = einsum('BD,VD->BV', x_BD, head_VD, jnp.float32)
    if cfg.head_bias:
      logits_BV += params['head_bias'].astype(jnp.float32)
    return scale_and_cap_logits(cfg, logits_BV)


def _margin(read, before_B1D, x_B1D):
  del before_B1D
  top_B2, _ = jax.lax.top_k(jax.nn.softmax(read(x_B1D), axis=-1), 2)
  return top_B2[:, 0] - top_B2[:, 1]


def _similarity(read, before_B1D, x_B1D):
  del read
  pair = (before_B1D[:, 0].astype(jnp.float32), x_B1D[:, 0].astype(jnp.float32))
  before_BD, x_BD = (
    value_BD / jnp.linalg.norm(value_BD, axis=-1, keepdims=True) for value_BD in pair
  )
  return jnp.sum(before_BD * x_BD, axis=-1)


MEASURES = {'margin': _margin, 'similarity': _similarity}
"""`(reader, stream before, stream after a layer) -> float32 [B]`, at most 1."""
