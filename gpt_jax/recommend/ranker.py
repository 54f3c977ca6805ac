"""The second stage: a model reads the titles that were liked and a candidate."""

from gpt_jax.core.errors import ConfigError

HISTORY = 5
"""Titles that the text model reads at most, the most recent ones."""
TASK = 'recommendation'


class Ranker:
  """Orders candidates by the probability that a text model gives them."""

  def __init__(self, run, catalogue):
    """Takes a `gpt_jax.load`ed run; ConfigError unless its task is recommendation."""
    require_task(run.config, 'the text model')
    self._run, self._catalogue = run, catalogue

  def scores(self, asked, progress=None):
    """Returns a list of probabilities for each (history, rows) of `asked`."""
    examples = [
      example(self._catalogue, history, row) for history, rows in asked for row in rows
    ]
    found = iter(self._run.predict(examples, progress))
    return [[next(found)['score'] for _ in rows] for _, rows in asked]


def example(catalogue, history, row):
  """Returns the fields of the task for one candidate after a history of rows."""
  titles = [catalogue.titles[one] for one in history[-HISTORY:]]
  return dict(history=titles, candidate=catalogue.text(row))


def require_task(config, what):
  """Raises ConfigError unless `config` is that of a run of the task recommendation."""
  if config.task.name != TASK:
    raise ConfigError(
      f'{what}: its run has task.name={config.task.name!r}; expected {TASK!r}, as'
      ' `gpt-jax recommend train` makes it.'
    )
