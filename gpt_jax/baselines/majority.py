"""The most frequent class of the training data, for everything."""

import collections
import dataclasses

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned


@dataclasses.dataclass(frozen=True)
class Majority:
  """How often the training data has each class."""

  names: tuple[str, ...]
  priors: tuple[float, ...]
  """In the order of `names`; they add up to 1."""

  def predict(self, texts):
    """Returns the most frequent class for each text; the first of equal ones."""
    return [self.names[int(np.argmax(self.priors))]] * len(texts)

  def probabilities(self, texts):
    """Returns `probabilities_NC`: the priors for each text."""
    return np.tile(np.array(self.priors), (len(texts), 1))


def fit(labels, names):
  """Returns the `Majority` of training `labels`: names, or positions in `names`.

  Raises DataError without labels, or at an unknown one.
  """
  if not len(labels):
    raise DataError('The majority baseline: no training labels; give examples.')
  ids_N = aligned.label_ids('The majority baseline', 'labels', labels, names)
  counts = collections.Counter(ids_N.tolist())
  return Majority(
    tuple(names), tuple(counts[label] / len(labels) for label in range(len(names)))
  )
