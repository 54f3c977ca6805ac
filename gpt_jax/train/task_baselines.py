"""A task's model beside predictors without a neural network, on the same examples.

WORKDIR/baselines.json keeps what they scored, so that a report can show it once the
data are gone.
"""

import math

from gpt_jax.core.errors import StorageError
from gpt_jax.workdir import files

MODEL = 'this model'


def score_baselines(task, train, records):
  """Returns `{name: Scores}` of the baselines of a task; {} where answers are unknown.

  Args:
    task: a Task.
    train: Records that they learn from.
    records: Records that they predict, those that the model was scored on.
  """
  if not records or any(task.gold(record) is None for record in records):
    return {}
  found = task.baselines(train, records)
  return {name: task.score(records, made) for name, made in found.items()}


def table(task, metrics, baselines):
  """Returns (columns, rows) of the model and all baselines, the best first.

  Args:
    task: a Task: its first metric is what they are ranked by.
    metrics: of the model, by name.
    baselines: `{name: metrics}`.

  A row is (name, one number or None for each column after the first).
  """
  everyone = {MODEL: metrics} | baselines
  columns = [
    name for name in task.metrics if any(name in one for one in everyone.values())
  ]
  rows = [
    (name, *(found.get(column) for column in columns))
    for name, found in everyone.items()
  ]
  sign = -1 if task.higher_is_better else 1

  def place(row):  # the model first among equals; what has no number last
    value = row[1] if columns else None
    return math.inf if value is None or not math.isfinite(value) else sign * value

  return ('predictor', *columns), sorted(rows, key=place)


def write(workdir, found):
  """Writes baselines.json of `{set: {name: Scores}}`, null for undefined metrics."""
  saved = {
    name: {method: scores.json_metrics() for method, scores in each.items()}
    for name, each in found.items()
  }
  files.write_json(workdir.baselines, saved)


def read(workdir):
  """Returns `{set: {name: metrics}}` of baselines.json; {} without one."""
  try:
    return files.read_json(workdir.baselines)
  except StorageError:
    return {}
