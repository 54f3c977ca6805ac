"""Chooses the next token: greedy, or drawn from what the settings keep.

The order is that of transformers' generate: temperature, top-k, top-p, min-p, typical.
Bias, penalties and masks come before (`penalties.py`, `guide.py`), for greedy rows too.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.types import Array
from gpt_jax.inference.settings import MAX_BIASES, Sampling

SEARCHED = (16, 64, 256, 1024, 4096)
"""Numbers of likeliest tokens that are searched for; more are sorted out of all: of
50,000 logits the first 64 take a CPU 0.1 ms, all of them 29 ms."""

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
  def sorts_B(self):
    limits_B = (self.top_k_B > 0) | (self.top_p_B < 1) | (self.typical_p_B < 1)
    return self.draws_B & limits_B

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
  """What the rows of a batch ask for together."""

  unsorted: Array
  """Of those that need no order; 0: there are none, 1: greedy, 2: draws."""
  sorted: Array
  """Of the others; 0: there are none, i: the likeliest `_sizes(V)[i - 1]` suffice."""

  @classmethod
  def of(cls, rows, vocab_size):
    """Returns the Work of SamplingRows, the same at each token."""
    draws_B, sorts_B = rows.draws_B, rows.sorts_B
    from_all = jnp.any(draws_B & ~sorts_B)
    # How many of the likeliest tokens the most demanding row chooses from.
    wanted_B = jnp.where(rows.top_k_B > 0, rows.top_k_B, vocab_size)
    wanted = jnp.max(jnp.where(sorts_B, jnp.minimum(wanted_B, vocab_size), 0))
    return cls(
      unsorted=jnp.where(from_all, 2, jnp.any(~draws_B).astype(jnp.int32)),
      sorted=jnp.sum(wanted > jnp.array([0, *_sizes(vocab_size)[:-1]])),
    )


def sample(logits_BV, rng_B, count_B, rows, work):
  """Returns one token id per row, int32 [B], drawn with the row's own key.

  That is `rng_B` folded with `count_B`, the tokens drawn so far. `rows` is a
  SamplingRows, `work` their Work. Ids with a logit of -inf are never drawn.
  """
  # One program for all settings, which does what the rows at hand ask for.
  unsorted = [_nothing, _greedy, _draw_from_all]

  def from_top(logits_BV, rng_B, count_B, rows, size):
    sorted_B = _draw_from_top(logits_BV, rng_B, count_B, rows, size)
    other_B = jax.lax.switch(work.unsorted, unsorted, logits_BV, rng_B, count_B, rows)
    return jnp.where(rows.sorts_B, sorted_B, other_B)

  sizes = _sizes(logits_BV.shape[-1])
  branches = unsorted + [functools.partial(from_top, size=size) for size in sizes]
  index = jnp.where(work.sorted > 0, len(unsorted) - 1 + work.sorted, work.unsorted)
  return jax.lax.switch(index, branches, logits_BV, rng_B, count_B, rows)


def distribution(logits_BV, rows, work):
  """Returns the probabilities [B, V] by which `sample` chooses."""

  def of_all(logits_BV):
    kept_BV = _likely_enough(scale(logits_BV, rows), rows)
    best_B1 = _greedy(logits_BV)[:, None]
    is_best_BV = jnp.arange(logits_BV.shape[1]) == best_B1
    return jnp.where(rows.draws_B[:, None], kept_BV, jnp.where(is_best_BV, 0, -jnp.inf))

  def of_top(logits_BV, size):
    kept_BC, id_BC = candidates(scale(logits_BV, rows), rows, size)
    rows_B1 = jnp.arange(len(logits_BV))[:, None]
    nothing_BV = jnp.full_like(logits_BV, -jnp.inf)
    sorted_BV = nothing_BV.at[rows_B1, id_BC].set(kept_BC)
    return jnp.where(rows.sorts_B[:, None], sorted_BV, of_all(logits_BV))

  sizes = _sizes(logits_BV.shape[-1])
  branches = [of_all, *(functools.partial(of_top, size=size) for size in sizes)]
  return jax.nn.softmax(jax.lax.switch(work.sorted, branches, logits_BV), axis=-1)


def _sizes(vocab_size):
  return (*(size for size in SEARCHED if size <= vocab_size / 2), vocab_size)


def _nothing(logits_BV, *_):
  return jnp.zeros(len(logits_BV), jnp.int32)


def _greedy(logits_BV, *_):
  return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)


def _draw_from_all(logits_BV, rng_B, count_B, rows):
  noise_BV = _gumbel(rng_B, count_B, logits_BV)
  noise_BV = jnp.where(rows.draws_B[:, None], noise_BV, 0)
  return _greedy(noise_BV + _likely_enough(scale(logits_BV, rows), rows))


def _draw_from_top(logits_BV, rng_B, count_B, rows, size):
  logits_BC, id_BC = candidates(scale(logits_BV, rows), rows, size)
  choice_B = _greedy(_gumbel(rng_B, count_B, logits_BC) + logits_BC)
  return jnp.take_along_axis(id_BC, choice_B[:, None], axis=1)[:, 0]


def _gumbel(rng_B, count_B, logits_BC):
  """Returns noise [B, C] whose sum with logits is largest with their probability."""
  # That of a candidate does not depend on how many follow it: jax counts bits by index.
  C, dtype = logits_BC.shape[1], logits_BC.dtype

  def row(rng, count):
    return jax.random.gumbel(jax.random.fold_in(rng, count), (C,), dtype)

  return jax.vmap(row)(rng_B, count_B)


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


def candidates(scaled_BV, rows, size):
  """Returns (logits, ids) [B, size] to draw from, likeliest first, -inf if excluded."""
  logits_BC, id_BC = jax.lax.top_k(scaled_BV, size)
  rank_C = jnp.arange(size)
  top_k_B1, top_p_B1 = rows.top_k_B[:, None], rows.top_p_B[:, None]
  is_kept_BC = (rank_C < top_k_B1) | (top_k_B1 == 0)
  logits_BC = jnp.where(is_kept_BC, logits_BC, -jnp.inf)
  share_BC = jax.nn.softmax(logits_BC, axis=-1)
  # A token stays while those before it hold less than top_p: the smallest set.
  before_BC = jnp.cumsum(share_BC, axis=-1) - share_BC
  is_kept_BC = (before_BC < top_p_B1) | (top_p_B1 == 1) | (rank_C == 0)
  logits_BC = jnp.where(is_kept_BC, logits_BC, -jnp.inf)
  logits_BC = _likely_enough(logits_BC, rows)
  logits_BC = jax.lax.cond(
    jnp.any(rows.is_typical_B),
    _typical,
    lambda logits_BC, _: logits_BC,
    logits_BC,
    rows,
  )
  return logits_BC, id_BC


def _likely_enough(scaled_BC, rows):
  """Returns logits, the largest of a row 0, with -inf below min-p of the largest.

  arXiv:2407.01082, section 3. The largest logit stays.
  """
  limit_B1 = jnp.where(rows.draws_B, rows.log_min_p_B, -jnp.inf)[:, None]
  return jnp.where(scaled_BC >= limit_B1, scaled_BC, -jnp.inf)


def _typical(logits_BC, rows):
  """Returns logits with -inf but for the ids whose surprise is nearest the entropy.

  Of those as few as hold `typical_p`. arXiv:2202.00666, section 3.
  """
  log_share_BC = jax.nn.log_softmax(logits_BC, axis=-1)
  share_BC = jnp.exp(log_share_BC)
  terms_BC = jnp.where(share_BC > 0, share_BC * log_share_BC, 0)
  distance_BC = jnp.abs(log_share_BC - jnp.sum(terms_BC, axis=-1, keepdims=True))
  order_BC = jnp.argsort(distance_BC, axis=-1)
  held_BC = jnp.cumsum(jnp.take_along_axis(share_BC, order_BC, axis=-1), axis=-1)
  last_B = jnp.sum(held_BC < rows.typical_p_B[:, None], axis=-1)
  last_B1 = jnp.minimum(last_B, logits_BC.shape[1] - 1)[:, None]
  limit_B1 = jnp.take_along_axis(
    distance_BC, jnp.take_along_axis(order_BC, last_B1, axis=-1), axis=-1
  )
  is_kept_BC = (distance_BC <= limit_B1) | ~rows.is_typical_B[:, None]
  return jnp.where(is_kept_BC, logits_BC, -jnp.inf)
