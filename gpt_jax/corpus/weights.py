"""Sources of a mixture in the shares that `data.mixture` gives as weights.

The source that is scarcest for its weight stays whole; of the others documents are left
out, in an order that their content gives, until bytes of text are in proportion.
"""

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.corpus import epochs
from gpt_jax.corpus.step import GlobalStep, Removal

_STRETCHES = 1 << 16  # of the order: a source is divided at the end of one


class Weights(GlobalStep):
  """Leaves out training documents of sources that are more than their share."""

  dtype = np.dtype(
    [('member', '<i4'), ('num_bytes', '<i8'), ('position', '<f8'), ('is_training', '?')]
  )

  def __init__(self, weights):
    """`weights`: {name in data.mixture: weight}."""
    self._numbers = {name: i for i, name in enumerate(weights)}
    self._weights = np.array(list(weights.values()), np.float64)

  def survey(self, document):
    position = epochs.position(document)
    number = self._numbers[document.member]
    return np.array(
      (number, document.num_bytes, position, document.is_training), self.dtype
    )

  def decide(self, surveys):
    shape = len(self._weights), _STRETCHES
    num_bytes = np.zeros(shape)
    for survey in surveys:
      here = survey[survey['is_training']]
      np.add.at(num_bytes, (here['member'], _stretch(here)), here['num_bytes'])
    kept = shares_to_keep(self._weights, num_bytes.sum(axis=1))
    stop, first = np.array(list(map(_first_to_go, num_bytes, kept))), 0
    for survey in surveys:
      goes = survey['is_training'] & (_stretch(survey) >= stop[survey['member']])
      for number in np.flatnonzero(goes):
        yield Removal(first + int(number), 'more than the weight of its source')
      first += len(survey)

  def describe(self):
    total = self._weights.sum()
    return {'weights': {n: self._weights[i] / total for n, i in self._numbers.items()}}


def _stretch(survey):
  """Returns which stretch of the order of its source each document lies in."""
  return (survey['position'] * _STRETCHES).astype(np.int64)


def _first_to_go(num_bytes, share):
  """Returns the number of stretches whose bytes are closest to a share of all."""
  before = np.concatenate([[0.0], np.cumsum(num_bytes)])
  return (
    int(np.argmin(np.abs(before - share * before[-1]))) if share < 1 else _STRETCHES
  )


def shares_to_keep(weights, amounts):
  """Returns float64 [M]: the share of each source that stays, 1 for the scarcest one.

  Kept amounts are then as the weights; sources without any are left out of account.
  """
  factors = np.divide(weights, amounts, out=np.zeros(len(weights)), where=amounts > 0)
  most = factors.max()
  return factors / most if most > 0 else np.ones(len(weights))


@entry()
def make(options, context):
  """Returns the step. Raises ConfigError without a mixture."""
  del options
  mixture = context.config.data.mixture
  if not mixture:
    raise ConfigError('--step=weights: data.mixture is empty; name sources there.')
  return Weights(
    {name: float(part['weight']) for name, part in sorted(mixture.items())}
  )
