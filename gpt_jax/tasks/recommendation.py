"""Will a user like an item: the titles they liked before and a candidate, as text.

Reading behaviour as language: P5, arXiv:2203.13366. Two classes, and the likelihood of
the second one orders the candidates of a user.
"""

from typing import Any

from gpt_jax.core.errors import DataError
from gpt_jax.tasks.classification import Classification

SEPARATOR = '; '  # between titles


class Recommendation(Classification):
  """A task head with two classes; objective class_labels.

  Records have history (titles, the most recent last), candidate and label (0 or 1); of
  use besides: user, whose candidates are ranked, and item, an id of the candidate. A
  prediction is the `score`, the probability of a click.
  """

  name = 'recommendation'
  inputs = ('history', 'candidate')
  metrics = ('auc', 'ndcg_at_10', 'hit_rate_at_10', 'log_loss')
  may_shrink = (0,)

  def __init__(self, config):
    super().__init__(config)
    self.label_names = ('0', '1')

  def check(self, record):
    history = record.values.get('history') or ()
    is_list = isinstance(history, list)
    if not is_list or not all(isinstance(one, str) and one.strip() for one in history):
      raise DataError(
        f'{record.place}: history is {str(history)[:80]}; expected a list of titles,'
        ' the most recent last (task.columns).'
      )
    self.text_of(record, 'candidate')
    self.label_id(record)

  def parts(self, record):
    titles = SEPARATOR.join(record.values['history'])
    return [titles, self.text_of(record, 'candidate')]

  def gold(self, record) -> Any:
    label = self.label_id(record)
    return None if label < 0 else label

  def score(self, records, predictions):
    from gpt_jax.evaluation.ranking_scores import ranking_scores

    return ranking_scores(
      [self.gold(record) for record in records],
      [one['score'] for one in predictions],
      _users(records),
    )

  def baselines(self, train, records):
    from gpt_jax.baselines import factorization, popularity

    clicks, items = [self.gold(record) for record in train], _items(train)
    popular = popularity.fit(items, clicks)
    factors = factorization.fit(_users(train), items, clicks)
    asked = _items(records)
    found = {
      'popularity': popular.probabilities(asked),
      'matrix factorization': factors.probabilities(_users(records), asked),
    }
    return {
      name: [dict(score=float(prob)) for prob in probs] for name, probs in found.items()
    }

  def describe(self, record):
    return '\n'.join(self.parts(record))

  def _prediction(self, probs_C):
    return dict(score=float(probs_C[1]))


def make(config):
  """Returns the task of a Config: a history, a candidate, and whether it is liked."""
  return Recommendation(config)


def _users(records):
  """Returns whose each record is; one without a user is a user by itself."""
  return [record.values.get('user', record.place) for record in records]


def _items(records):
  return [record.values.get('item', record.values['candidate']) for record in records]
