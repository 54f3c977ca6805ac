"""Periodic languages, in which only new tokens have entropy.

`copy`: the second half of a document repeats its uniformly random first half.
`induction`: a random segment, its length uniform in min_period .. max_period, is tiled
over the document, so that a model has to find the period in the context.

With `data.options.loss_on='repeats'` the tokens of the first period bear no loss.
"""

import math
from fractions import Fraction

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import one_of, section
from gpt_jax.data import fields
from gpt_jax.data.synthetic import SyntheticSource, sized_by_generator


@section
class RepetitionOptions:
  loss_on: str = one_of('all', 'repeats', default='all')


class RepeatingLanguage:
  """Periodic documents; all `periods` are equally likely.

  `entropy` is the mean over all tokens of a document but its first, for a model that
  sees the document from its start and knows the language, not the period.
  """

  entropy: float | None

  def __init__(self, vocab_size, periods, document_len, fields):
    self.vocab_size, self.periods = vocab_size, tuple(periods)
    self.fields = fields
    total = self._document_entropy(document_len)
    self.entropy = (total - math.log(vocab_size)) / (document_len - 1)

  def _document_entropy(self, length):
    # Exact: a word of at least two longest periods has only multiples of its shortest
    # period as periods (Fine and Wilf 1965), so words of each probability are counted.
    if len(self.periods) == 1:
      return min(self.periods[0], length) * math.log(self.vocab_size)
    total = 0.0
    for shortest in range(1, max(self.periods) + 1):
      multiples = [period for period in self.periods if period % shortest == 0]
      words = _primitive_words(shortest, self.vocab_size)
      if not multiples or not words:
        continue
      chances = (Fraction(1, self.vocab_size**period) for period in multiples)
      probability = sum(chances, Fraction(0)) / len(self.periods)
      log_probability = math.log(probability.numerator) - math.log(
        probability.denominator
      )
      total -= float(words * probability) * log_probability
    return total

  def draw(self, rng, count, length):
    period = np.array(self.periods)[rng.integers(len(self.periods), size=count)]
    segment = rng.integers(self.vocab_size, size=(count, max(self.periods)))
    columns = np.arange(length)[None, :] % period[:, None]
    return np.take_along_axis(segment, columns, axis=1)

  def is_repeat(self, tokens_N):
    """Returns which tokens stand after the first period, bool [N]."""
    first = next(
      period
      for period in self.periods
      if (tokens_N[period:] == tokens_N[:-period]).all()
    )
    return np.arange(len(tokens_N)) >= first

  def log_probs(self, tokens_N):
    # By the posterior over periods.
    result = np.full(len(tokens_N), -math.inf)
    posterior = np.full(len(self.periods), 1 / len(self.periods))
    for t, token in enumerate(tokens_N):
      likelihood = np.array(
        [
          1 / self.vocab_size if t < period else float(tokens_N[t - period] == token)
          for period in self.periods
        ]
      )
      joint = posterior * likelihood
      if joint.sum() == 0:
        break
      result[t] = math.log(joint.sum())
      posterior = joint / joint.sum()
    return result


def _primitive_words(length, vocab_size):
  """Returns how many words of `length` are no repetition of a shorter word."""
  shorter = (n for n in range(1, length) if length % n == 0)
  return vocab_size**length - sum(_primitive_words(n, vocab_size) for n in shorter)


def _source(data, language, entropy_of_repeats):
  """Returns the source of a language, its loss where `data.options.loss_on` says."""
  if data.options.loss_on == 'all':
    return SyntheticSource(data, language)
  language.entropy = entropy_of_repeats
  return SyntheticSource(data, language, language.is_repeat, {'loss_on': 'repeats'})


def _fields(data):
  return () if data.options.loss_on == 'all' else ('loss_mask',)


@registry.entry(options=RepetitionOptions)
@fields.known_fields(_fields)
@sized_by_generator
def make_copy(data):
  """Returns a source of documents whose second half repeats the first."""
  g = data.generator
  half = (g.document_len + 1) // 2
  language = RepeatingLanguage(g.vocab_size, [half], g.document_len, ('vocab_size',))
  return _source(data, language, entropy_of_repeats=0.0)


@registry.entry(options=RepetitionOptions)
@fields.known_fields(_fields)
@sized_by_generator
def make_induction(data):
  """Returns a source of documents tiled from a segment of random length."""
  g = data.generator
  if not g.min_period <= g.max_period <= g.document_len // 2:
    raise ConfigError(
      f'data.generator.max_period={g.max_period}: expected at least min_period='
      f'{g.min_period} and at most half of document_len={g.document_len}, so that the'
      ' entropy is known exactly.'
    )
  periods = range(g.min_period, g.max_period + 1)
  names = ('vocab_size', 'min_period', 'max_period')
  language = RepeatingLanguage(g.vocab_size, periods, g.document_len, names)
  # Where the first period ends is not seen at once: what that costs is not known.
  return _source(data, language, entropy_of_repeats=None)
