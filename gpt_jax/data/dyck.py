"""Dyck languages: brackets of several kinds, properly nested up to a depth.

With vocab_size = 2n, token k < n opens kind k and token n + k closes it. At depth 0 a
bracket opens, at the greatest depth the last one closes, between them both have
probability 1/2; the kind of an opening bracket is uniform.
"""

import math

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.synthetic import SyntheticSource, sized_by_generator


class DyckLanguage:
  """`entropy` is the mean over all tokens of a document but its first.

  Documents are cut at their length, at any depth.
  """

  fields = ('vocab_size', 'max_depth')

  def __init__(self, vocab_size, max_depth, document_len):
    self.vocab_size, self.max_depth = vocab_size, max_depth
    self.kinds = vocab_size // 2
    self.entropy = self._mean_entropy(document_len)

  def _mean_entropy(self, length):
    # By the Markov chain of depths, exactly: the kinds on the stack do not change the
    # entropy of a step.
    depths = self.max_depth + 1
    step_entropy = np.full(depths, math.log(2) + 0.5 * math.log(self.kinds))
    step_entropy[0], step_entropy[-1] = math.log(self.kinds), 0.0
    move = np.zeros((depths, depths))
    for depth in range(depths):
      move[depth, min(depth + 1, self.max_depth)] += self._opening_probability(depth)
      move[depth, max(depth - 1, 0)] += 1 - self._opening_probability(depth)
    at_depth, total = np.eye(depths)[0], 0.0
    for t in range(length):
      total += at_depth @ step_entropy if t else 0.0
      at_depth = at_depth @ move
    return total / (length - 1)

  def _opening_probability(self, depth):
    return np.where(depth == 0, 1.0, np.where(depth == self.max_depth, 0.0, 0.5))

  def draw(self, rng, count, length):
    tokens = np.empty((count, length), np.int64)
    stack = np.zeros((count, self.max_depth + 1), np.int64)
    depth, rows = np.zeros(count, np.int64), np.arange(count)
    for t in range(length):
      opens = rng.random(count) < self._opening_probability(depth)
      kinds = rng.integers(self.kinds, size=count)
      top = stack[rows, np.maximum(depth - 1, 0)]
      tokens[:, t] = np.where(opens, kinds, self.kinds + top)
      stack[rows[opens], depth[opens]] = kinds[opens]
      depth += np.where(opens, 1, -1)
    return tokens

  def log_probs(self, tokens_N):
    result, stack = np.full(len(tokens_N), -math.inf), []
    for t, token in enumerate(tokens_N):
      opening = float(self._opening_probability(len(stack)))
      if token < self.kinds:
        probability = opening / self.kinds
        stack.append(int(token))
      else:
        matches = bool(stack) and stack.pop() == token - self.kinds
        probability = (1 - opening) * matches
      if probability == 0:
        break
      result[t] = math.log(probability)
    return result


@sized_by_generator
def make(data):
  """Returns a source of documents of `vocab_size / 2` kinds of brackets."""
  g = data.generator
  if g.vocab_size % 2:
    raise ConfigError(
      f'data.generator.vocab_size={g.vocab_size}: data.source="dyck" needs an even'
      f' number, an opening and a closing token for each kind; try {g.vocab_size + 1}.'
    )
  return SyntheticSource(data, DyckLanguage(g.vocab_size, g.max_depth, g.document_len))
