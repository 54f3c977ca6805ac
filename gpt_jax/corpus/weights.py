"""Sources of a mixture in the shares that `data.mixture` gives as weights.

The source that is scarcest for its weight stays whole; of the others documents are left
out, chosen by their content, until bytes of text are in proportion.
"""

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.corpus import epochs
from gpt_jax.corpus.step import GlobalStep, Removal


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
    num_bytes = np.zeros(len(self._weights))
    for survey in surveys:
      here = survey[survey['is_training']]
      num_bytes += np.bincount(
        here['member'], weights=here['num_bytes'], minlength=len(num_bytes)
      )
    kept, first = shares_to_keep(self._weights, num_bytes), 0
    for survey in surveys:
      goes = survey['is_training'] & (survey['position'] >= kept[survey['member']])
      for number in np.flatnonzero(goes):
        yield Removal(first + int(number), 'more than the weight of its source')
      first += len(survey)

  def describe(self):
    total = self._weights.sum()
    return {'weights': {n: self._weights[i] / total for n, i in self._numbers.items()}}


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
