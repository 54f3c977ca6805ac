"""Markov chains of order k with Dirichlet transition rows; the uniform language, k = 0.

Entropy rate: H = sum over contexts c of pi(c) H(row c), pi the stationary distribution.
"""

import math

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.synthetic import SyntheticSource, sized_by_generator

_MAX_PROBABILITIES = 1 << 26


class MarkovLanguage:
  """A chain with rows [V**order, V]; a context is its symbols read as a base-V number.

  `entropy` is the entropy rate: the cost of each token after `order` tokens of its own
  document. Documents start in the stationary distribution, so the first few tokens cost
  more and the rate remains a lower bound.
  """

  fields = ('vocab_size', 'order', 'concentration', 'language_seed')

  def __init__(self, rows):
    self.rows = rows / rows.sum(axis=1, keepdims=True)
    self.vocab_size = rows.shape[1]
    self.order = round(math.log(rows.shape[0], self.vocab_size))
    self.stationary = _stationary(self.rows)
    self._cumulative = np.cumsum(self.rows, axis=1)
    self.entropy = float(self.stationary @ _entropies(self.rows))

  def draw(self, rng, count, length):
    start = rng.choice(len(self.rows), size=count, p=self.stationary)
    symbols = _digits(start, self.vocab_size, self.order)
    tokens = np.empty((count, max(length, self.order)), np.int64)
    tokens[:, : self.order] = symbols
    context = start
    for t in range(self.order, length):
      # Without the last bound: rounding may leave a row's sum under 1.
      draws = rng.random(count)[:, None]
      symbol = (draws >= self._cumulative[context, :-1]).sum(axis=1)
      tokens[:, t] = symbol
      context = (context * self.vocab_size + symbol) % len(self.rows)
    return tokens[:, :length]

  def log_probs(self, tokens_N):
    prefixes = self.stationary
    result, context = np.empty(len(tokens_N)), 0
    for t, token in enumerate(tokens_N):
      if t < self.order:
        joint = prefixes.reshape(self.vocab_size, -1).sum(axis=1)
        result[t] = _log(joint[token] / joint.sum())
        prefixes = prefixes.reshape(self.vocab_size, -1)[token]
      else:
        result[t] = _log(self.rows[context, token])
      context = (context * self.vocab_size + int(token)) % len(self.rows)
    return result

  def entropy_given(self, order):
    """Returns what a token costs a model that sees the last `order` symbols alone.

    Nats in expectation, of the best such model; `order` is at most that of the chain,
    for which it is `entropy`.
    """
    joint = (self.stationary[:, None] * self.rows).reshape(
      -1, self.vocab_size**order, self.vocab_size
    )
    joint = joint.sum(axis=0)  # P(last `order` symbols, next symbol)
    return float(_entropies(joint).sum() - _entropies(joint.sum(axis=1)[None, :])[0])


def _log(probability):
  return math.log(probability) if probability > 0 else -math.inf


def _digits(numbers, base, width):
  powers = base ** np.arange(width - 1, -1, -1, dtype=np.int64)
  return numbers[:, None] // powers[None, :] % base


def _entropies(rows):
  return -np.where(rows > 0, rows * np.log(np.where(rows > 0, rows, 1.0)), 0.0).sum(
    axis=1
  )


def _stationary(rows):
  """Returns the stationary distribution over contexts by power iteration."""
  count, base = rows.shape
  pi = np.full(count, 1 / count)
  for _ in range(100_000):
    # Context c, then symbol x, is context (c V + x) mod V**k: the oldest symbol drops.
    moved = (pi[:, None] * rows).reshape(base, -1).sum(axis=0) if count > 1 else pi
    moved = 0.5 * (moved + pi)  # lazy chain: the same fixed point, and no period
    if np.abs(moved - pi).sum() < 1e-15:
      break
    pi = moved
  return pi / pi.sum()


@sized_by_generator
def make(data):
  """Returns a source of documents from the order-k chain of `data.generator`."""
  g = data.generator
  if g.vocab_size ** (g.order + 1) > _MAX_PROBABILITIES:
    raise ConfigError(
      f'data.generator.order={g.order} with vocab_size={g.vocab_size}: the chain would'
      f' have {g.vocab_size}**{g.order + 1} probabilities, over {_MAX_PROBABILITIES};'
      ' lower one.'
    )
  rng = np.random.default_rng([g.language_seed, g.vocab_size, g.order])
  rows = rng.dirichlet([g.concentration] * g.vocab_size, size=g.vocab_size**g.order)
  return SyntheticSource(data, MarkovLanguage(rows))


class UniformLanguage(MarkovLanguage):
  """Independent uniform symbols: every token costs exactly ln V."""

  fields = ('vocab_size',)

  def draw(self, rng, count, length):
    return rng.integers(self.vocab_size, size=(count, length))


@sized_by_generator
def make_uniform(data):
  """Returns a source of independent uniform tokens, entropy ln(vocab_size)."""
  size = data.generator.vocab_size
  return SyntheticSource(data, UniformLanguage(np.full((1, size), 1 / size)))
