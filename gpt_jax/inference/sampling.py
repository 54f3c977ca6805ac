"""Chooses the next token: greedy, or drawn from what the settings keep.

The order is that of transformers' generate: temperature, top-k, top-p, min-p, typical.
Bias, penalties and masks come before (`penalties.py`, `guide.py`), for greedy rows too.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.types import Array
from gpt_jax.inference.settings import MAX_BIASES, Sampling

_BLOCK = 512
_FEW = 64  # likeliest tokens that are found faster than a limit
_INFINITE = 0x7F800000  # the bits of infinity

# Devices take numbers below the smallest normal one, and their own reciprocal's, for 0;
# 0 / 0 and inf * 0 are no numbers.
_TEMPERATURES = (np.finfo(np.float32).tiny, np.float32(1e37))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SamplingRows:
  """The Sampling of each row, as data of a compiled program; all 0: greedy."""

  temperature_B: Array
  top_k_B: Array
  top_p_B: Array
  log_min_p_B: Array
  typical_p_B: Array
  repetition_B: Array
  """0: off."""
  presence_B: Array
  frequency_B: Array
  bias_id_BI: Array
  bias_BI: Array

  @property
  def draws_B(self):
    return self.temperature_B > 0

  @property
  def is_typical_B(self):
    return self.draws_B & (self.typical_p_B < 1)

  @property
  def is_penalized_B(self):
    return (self.repetition_B > 0) | (self.presence_B != 0) | (self.frequency_B != 0)

  @classmethod
  def of(cls, samplings: list[Sampling]):
    """Returns a row for each."""

    def column(name, dtype=np.float32):
      return np.array([getattr(each, name) for each in samplings], dtype)

    with np.errstate(over='ignore', divide='ignore'):  # what float32 cannot hold; log 0
      temperature_B = column('temperature')
      log_min_p_B = np.log(column('min_p'))
    largest = np.iinfo(np.int32).max
    bias_id_BI = np.zeros((len(samplings), MAX_BIASES), np.int32)
    bias_BI = np.zeros((len(samplings), MAX_BIASES), np.float32)
    for i, each in enumerate(samplings):
      for j, (token_id, bias) in enumerate(each.logit_bias):
        bias_id_BI[i, j], bias_BI[i, j] = token_id, bias
    repetition_B = column('repetition_penalty')
    return cls(
      np.where(temperature_B == 0, 0, np.clip(temperature_B, *_TEMPERATURES)),
      np.array([min(each.top_k, largest) for each in samplings], np.int32),
      column('top_p'),
      log_min_p_B,
      column('typical_p'),
      np.where(repetition_B == 1, 0, repetition_B),
      column('presence_penalty'),
      column('frequency_penalty'),
      bias_id_BI,
      bias_BI,
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Work:
  """What any row of a batch asks for; the same at each token."""

  draws: Array
  has_top_k: Array
  has_top_p: Array
  is_typical: Array

  @classmethod
  def of(cls, rows, vocab_size):
    """Returns the Work of SamplingRows."""
    draws_B = rows.draws_B
    has_top_k_B = (rows.top_k_B > 0) & (rows.top_k_B < vocab_size)
    return cls(
      draws=jnp.any(draws_B),
      has_top_k=jnp.any(draws_B & has_top_k_B),
      has_top_p=jnp.any(draws_B & (rows.top_p_B < 1)),
      is_typical=jnp.any(rows.is_typical_B),
    )


def sample(logits_BV, rng_B, count_B, rows, work):
  """Returns one token id per row, int32 [B], drawn with the row's own key.

  That is `rng_B` folded with `count_B`, the tokens drawn so far. `rows` is a
  SamplingRows, `work` their Work. Ids with a logit of -inf are never drawn.
  """

  # One program for all settings, which does what the rows at hand ask for.
  def draw(greedy_B):
    kept_BV = kept(scale(logits_BV, rows), rows, work)
    return jnp.where(rows.draws_B, _draw(kept_BV, rng_B, count_B), greedy_B)

  greedy_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
  return jax.lax.cond(work.draws, draw, lambda greedy_B: greedy_B, greedy_B)


def distribution(logits_BV, rows, work):
  """Returns the probabilities [B, V] by which `sample` chooses."""
  is_best_BV = jnp.arange(logits_BV.shape[1]) == jnp.argmax(logits_BV, axis=-1)[:, None]
  kept_BV = kept(scale(logits_BV, rows), rows, work)
  greedy_BV = jnp.where(is_best_BV, 0, -jnp.inf)
  return jax.nn.softmax(jnp.where(rows.draws_B[:, None], kept_BV, greedy_BV), axis=-1)


def _draw(logits_BV, rng_B, count_B):
  """Returns an id of each row by its probability, from one uniform number a row."""
  # Where the running sum of probabilities passes it. Summed in blocks: one pass.
  B, V = logits_BV.shape
  padding = ((0, 0), (0, -V % _BLOCK))
  weight_BV = jnp.pad(jnp.exp(logits_BV), padding)
  weight_BNK = weight_BV.reshape(B, -1, _BLOCK)
  until_BN = jnp.cumsum(jnp.sum(weight_BNK, axis=-1), axis=-1)

  def uniform(rng, count):
    return jax.random.uniform(jax.random.fold_in(rng, count))

  wanted_B1 = (jax.vmap(uniform)(rng_B, count_B) * until_BN[:, -1])[:, None]
  block_B1 = jnp.sum(until_BN <= wanted_B1, axis=-1, keepdims=True)
  before_BN = jnp.pad(until_BN, ((0, 0), (1, 0)))
  missing_B1 = wanted_B1 - jnp.take_along_axis(before_BN, block_B1, axis=1)
  weight_B1K = jnp.take_along_axis(weight_BNK, block_B1[..., None], axis=1)
  weight_BK = weight_B1K[:, 0]
  place_B = jnp.sum(jnp.cumsum(weight_BK, axis=-1) <= missing_B1, axis=-1)
  # Rounded sums may end before the number: then the likeliest of the block, or of all.
  best_B = jnp.argmax(weight_BK, axis=-1)
  has_weight_B = (
    jnp.take_along_axis(weight_BK, jnp.minimum(place_B, _BLOCK - 1)[:, None], axis=1)[
      :, 0
    ]
    > 0
  )
  place_B = jnp.where(has_weight_B & (place_B < _BLOCK), place_B, best_B)
  id_B = block_B1[:, 0] * _BLOCK + place_B
  is_past_B = block_B1[:, 0] == weight_BNK.shape[1]
  return jnp.where(is_past_B, jnp.argmax(logits_BV, axis=-1), id_B).astype(jnp.int32)


def real_logits(logits_BV, vocab_limit):
  """Returns `logits_BV` [..., V] with -inf where an id only pads the embedding."""
  if vocab_limit is None or vocab_limit == logits_BV.shape[-1]:
    return logits_BV
  is_real_V = jnp.arange(logits_BV.shape[-1]) < vocab_limit
  return jnp.where(is_real_V, logits_BV, -jnp.inf)


def scale(logits_BV, rows):
  """Returns logits over temperature, the largest of a row 0; greedy rows are kept."""
  # Shifted before the division: a tiny temperature gives -inf, never inf - inf.
  logits_BV = logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True)
  return logits_BV / jnp.where(rows.draws_B, rows.temperature_B, 1.0)[:, None]


def kept(scaled_BV, rows, work):
  """Returns `scaled_BV`, the largest of a row 0, with -inf for what is not drawn from.

  Of equal logits the lowest ids are kept. Nothing is sorted: of 50,000 logits that
  takes a CPU 29 ms.
  """

  def top_k(scaled_BV):
    bits_BV, ones_BV = _bits(scaled_BV), jnp.ones_like(scaled_BV)
    limit_B1 = jax.lax.cond(
      jnp.max(rows.top_k_B) <= _FEW,
      lambda: _bits(_largest(scaled_BV, rows.top_k_B)),
      lambda: _limit(bits_BV, ones_BV, rows.top_k_B),
    )
    is_kept_BV = _up_to(limit_B1, bits_BV, ones_BV, rows.top_k_B)
    return _hide(scaled_BV, is_kept_BV, rows.top_k_B > 0)

  def top_p(scaled_BV):
    is_kept_BV = _least(
      jnp.abs(scaled_BV), jax.nn.softmax(scaled_BV, axis=-1), rows.top_p_B
    )
    return _hide(scaled_BV, is_kept_BV, rows.top_p_B < 1)

  def typical(scaled_BV):
    # Those whose surprise is nearest the entropy. arXiv:2202.00666, section 3.
    log_share_BV = jax.nn.log_softmax(scaled_BV, axis=-1)
    share_BV = jnp.exp(log_share_BV)
    terms_BV = jnp.where(share_BV > 0, share_BV * log_share_BV, 0)
    distance_BV = jnp.abs(log_share_BV - jnp.sum(terms_BV, axis=-1, keepdims=True))
    is_kept_BV = _least(distance_BV, share_BV, rows.typical_p_B)
    return _hide(scaled_BV, is_kept_BV, rows.typical_p_B < 1)

  def same(scaled_BV):
    return scaled_BV

  scaled_BV = jax.lax.cond(work.has_top_k, top_k, same, scaled_BV)
  scaled_BV = jax.lax.cond(work.has_top_p, top_p, same, scaled_BV)
  # Min-p, arXiv:2407.01082, section 3; the largest logit stays.
  limit_B1 = jnp.where(rows.draws_B, rows.log_min_p_B, -jnp.inf)[:, None]
  scaled_BV = jnp.where(scaled_BV >= limit_B1, scaled_BV, -jnp.inf)
  return jax.lax.cond(work.is_typical, typical, same, scaled_BV)


def _hide(logits_BV, is_kept_BV, asks_B):
  return jnp.where(is_kept_BV | ~asks_B[:, None], logits_BV, -jnp.inf)


def _largest(scaled_BV, number_B):
  """Returns the largest entry of each row, by its number from 1 to _FEW, [B, 1]."""
  largest_BK = jax.lax.top_k(scaled_BV, min(_FEW, scaled_BV.shape[1]))[0]
  return jnp.take_along_axis(largest_BK, (number_B - 1)[:, None], axis=1, mode='clip')


def _least(cost_BV, weight_BV, wanted_B):
  """Returns which entries have the least size: as few as weigh `wanted_B`, one or more.

  Of equal ones the first are taken.
  """
  bits_BV = _bits(cost_BV)
  limit_B1 = _limit(bits_BV, weight_BV, wanted_B)
  return _up_to(limit_B1, bits_BV, weight_BV, wanted_B)


def _bits(cost_BV):
  """Returns whole numbers in the order of the sizes of `cost_BV`, exactly."""
  return jax.lax.bitcast_convert_type(jnp.abs(cost_BV), jnp.int32)


def _weight_of(is_in_BV, weight_BV):
  """Returns the sum [B, 1] of the weights that are in."""
  return jnp.sum(jnp.where(is_in_BV, weight_BV, 0), axis=-1, keepdims=True)


def _limit(bits_BV, weight_BV, wanted_B):
  """Returns the least limit [B, 1] up to which entries weigh `wanted_B`."""

  # Halving an interval of whole numbers 31 times finds it exactly.
  def halve(_, bounds):
    low_B1, high_B1 = bounds
    middle_B1 = low_B1 + (high_B1 - low_B1) // 2
    is_enough_B1 = _weight_of(bits_BV <= middle_B1, weight_BV) >= wanted_B[:, None]
    return (
      jnp.where(is_enough_B1, low_B1, middle_B1 + 1),
      jnp.where(is_enough_B1, middle_B1, high_B1),
    )

  low_B1 = jnp.zeros_like(bits_BV[:, :1])
  bounds = low_B1, jnp.full_like(low_B1, _INFINITE)
  return jax.lax.fori_loop(0, 31, halve, bounds)[1]


def _up_to(limit_B1, bits_BV, weight_BV, wanted_B):
  """Returns which entries are below the limit, and as many of those on it as needed."""
  is_less_BV, is_equal_BV = bits_BV < limit_B1, bits_BV == limit_B1
  # Not one more for what float32 sums are off; at least one.
  missing_B1 = (1 - 1e-6) * wanted_B[:, None] - _weight_of(is_less_BV, weight_BV)
  missing_B1 = jnp.maximum(missing_B1, np.finfo(np.float32).tiny)
  equal_BV = jnp.where(is_equal_BV, weight_BV, 0)

  def first():
    before_BV = jnp.cumsum(equal_BV, axis=-1) - equal_BV
    return is_less_BV | (is_equal_BV & (before_BV < missing_B1))

  largest_B1 = jnp.max(equal_BV, axis=-1, keepdims=True)
  has_more_B1 = _weight_of(is_equal_BV, weight_BV) - largest_B1 >= missing_B1
  return jax.lax.cond(jnp.any(has_more_B1), first, lambda: is_less_BV | is_equal_BV)
