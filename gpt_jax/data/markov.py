"""Markov chains of order k, and the uniform language, which is the one of order 0.

The next symbol depends on the k before it through a row of probabilities that was drawn
from a symmetric Dirichlet distribution. The entropy rate is exact:
H = sum over contexts c of pi(c) * H(row c), pi the stationary distribution of contexts.
"""

import math

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.synthetic import SyntheticSource, sized_by_generator

_MAX_TABLE = 1 << 26


class MarkovLanguage:
  """A chain with rows [V**order, V]; a context is its symbols read as a base-V number.

  `entropy` is the entropy rate: the cost of each token that has `order` tokens of its
  own document before it. Documents start in the stationary distribution, so the cost of
  the first few is higher and the rate stays a floor.
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
    """Returns int64 [count, length]: independent stationary stretches of the chain."""
    start = rng.choice(len(self.rows), size=count, p=self.stationary)
    symbols = _digits(start, self.vocab_size, self.order)
    tokens = np.empty((count, max(length, self.order)), np.int64)
    tokens[:, : self.order] = symbols
    context = start
    for t in range(self.order, length):
      # Below the last bound: rounding may leave a row's sum under 1.
      draws = rng.random(count)[:, None]
      symbol = (draws >= self._cumulative[context, :-1]).sum(axis=1)
      tokens[:, t] = symbol
      context = (context * self.vocab_size + symbol) % len(self.rows)
    return tokens[:, :length]

  def log_probs(self, tokens_N):
    """Returns float64 [N]: ln P(token | context); the first `order` by marginals."""
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


def _log(probability):
  return math.log(probability) if probability > 0 else -math.inf


def _digits(numbers, base, width):
  """Returns the `width` digits of each number, the most significant first."""
  powers = base ** np.arange(width - 1, -1, -1, dtype=np.int64)
  return numbers[:, None] // powers[None, :] % base


def _entropies(rows):
  """Returns the entropy of each row in nats."""
  return -np.where(rows > 0, rows * np.log(np.where(rows > 0, rows, 1.0)), 0.0).sum(
    axis=1
  )


def _stationary(rows):
  """Returns the stationary distribution over contexts by power iteration."""
  count, base = rows.shape
  pi = np.full(count, 1 / count)
  for _ in range(100_000):
    # Context c then symbol x is context (c * V + x) mod V**k: the oldest symbol drops
    # out.
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
  if g.vocab_size ** (g.order + 1) > _MAX_TABLE:
    raise ConfigError(
      f'data.generator.order={g.order} with vocab_size={g.vocab_size}: the table would'
      f' hold {g.vocab_size}**{g.order + 1} numbers, over {_MAX_TABLE}; lower one.'
    )
  rng = np.random.default_rng([g.language_seed, g.vocab_size, g.order])
  rows = rng.dirichlet([g.concentration] * g.vocab_size, size=g.vocab_size**g.order)
  return SyntheticSource(data, MarkovLanguage(rows))


class UniformLanguage(MarkovLanguage):
  """Independent uniform symbols: every token costs exactly ln V."""

  fields = ('vocab_size',)

  def draw(self, rng, count, length):
    """Returns int64 [count, length]."""
    return rng.integers(self.vocab_size, size=(count, length))


@sized_by_generator
def make_uniform(data):
  """Returns a source of independent uniform tokens, entropy ln(vocab_size)."""
  size = data.generator.vocab_size
  return SyntheticSource(data, UniformLanguage(np.full((1, size), 1 / size)))
