"""Numbers of texts, or of pairs of texts: similarity, ratings.

STS-B in GLUE (arXiv:1804.07461): two sentences and how alike they are, 0 to 5.
"""

import math
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.objectives.regression import bits
from gpt_jax.tasks.classification import Classification
from gpt_jax.tasks.task import Row


class Regression(Classification):
  """A task head with one output; objective regression.

  Records have text, text_b where they are pairs, and label, a number. A prediction is
  the `value`, in the units of the labels.
  """

  name = 'regression'
  inputs = ('text',)
  objectives = ('regression',)
  fields = ('labels', 'numbers', 'token_types')
  metrics = ('pearson', 'spearman', 'mse')
  packages = ()
  has_labels = False

  @property
  def needs(self):
    is_pair = 'text_b' in self.cfg.columns
    return ('text', 'text_b') if is_pair else ('text',)

  def check(self, record):
    super().check(record)
    self.parts(record)
    self.gold(record)

  def parts(self, record):
    is_pair = record.values.get('text_b') is not None
    fields = ('text', 'text_b') if is_pair else ('text',)
    return [self.text_of(record, field) for field in fields]

  def label_id(self, record):
    del record
    return 0  # where the number stands

  def encode(self, record, encoder, is_training):
    value = self.gold(record)
    number = np.int32(bits(0.0 if value is None else value))
    return [
      Row(row.tokens, row.fields | {'numbers': np.full_like(row.tokens, number)})
      for row in super().encode(record, encoder, is_training)
    ]

  def decode(self, record, rows, outputs):
    del record, rows
    return dict(value=float(np.mean([each['outputs'][0] for each in outputs])))

  def gold(self, record) -> Any:
    value = record.values.get('label')
    if value is None:
      return None
    try:
      number = float(value)
    except (TypeError, ValueError):
      number = math.nan
    if not math.isfinite(number):
      raise DataError(f'{record.place}: label={value!r}: expected a finite number.')
    return number

  def score(self, records, predictions):
    from gpt_jax.evaluation.regression_scores import regression_scores

    return regression_scores(
      [self.gold(record) for record in records], [one['value'] for one in predictions]
    )

  def baselines(self, train, records):
    known: Any = [self.gold(record) for record in train]
    mean = float(np.mean(known))
    return {'mean of the training split': [dict(value=mean) for _ in records]}

  def describe(self, record):
    return '\n'.join(self.parts(record))


def make(config):
  """Returns the task of a Config: a text, or two, and a number."""
  return Regression(config)
