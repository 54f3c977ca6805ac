"""Several runs of a task as one predictor: the mean of their probabilities.

Members that read the same rows are averaged row by row, before the task decodes; those
of other tokenizers example by example, where predictions carry `probabilities`.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import restore, setup
from gpt_jax.program.batches import evaluate_sets
from gpt_jax.tasks import make_task
from gpt_jax.tracking.console import progress
from gpt_jax.train import task_end
from gpt_jax.train.task_scores import decode_rows
from gpt_jax.workdir.paths import Workdir

ENSEMBLE = 'ensemble'
BY_ROW, BY_EXAMPLE = 'mean of probabilities by row', 'mean of probabilities by example'


def _mean_of_logits(arrays):
  logits = np.stack([np.asarray(one, np.float64) for one in arrays])
  return _mean_of_log_probs(logits - np.logaddexp.reduce(logits, -1, keepdims=True))


def _mean_of_log_probs(arrays):
  log_probs = np.stack([np.asarray(one, np.float64) for one in arrays])
  return np.logaddexp.reduce(log_probs, axis=0) - math.log(len(log_probs))


def _mean(arrays):
  return np.stack([np.asarray(one, np.float64) for one in arrays]).mean(axis=0)


MEANS = {
  'class_labels': dict(outputs=_mean_of_logits),
  'token_labels': dict(outputs=_mean_of_logits),
  'span_labels': dict(starts=_mean_of_log_probs, ends=_mean_of_log_probs),
  'regression': dict(outputs=_mean),
}
"""Objective -> its `predictions` by name, and how those of several members are one.

Logits and log-probabilities become log-probabilities of the mean probability."""


@dataclasses.dataclass
class Member:
  """A run and what it says of its sets."""

  workdir: str
  config: Any
  step: int = 0
  sets: dict[str, Any] = dataclasses.field(default_factory=dict)  # TaskDatasets
  batches: dict[str, list] = dataclasses.field(default_factory=dict)  # outputs
  found: dict[str, tuple] = dataclasses.field(default_factory=dict)
  """(Records, predictions) of each set."""

  @property
  def task(self):
    task = make_task(self.config)
    assert task is not None
    return task


@dataclasses.dataclass(frozen=True)
class Ensemble:
  """Metrics of members and of their ensemble."""

  how: str  # what the mean is over
  metric: str  # that counts first
  members: list[tuple[str, int]]  # (workdir, step)
  sets: dict[str, list[tuple[str, dict[str, float | None]]]]
  """Set -> (workdir or ENSEMBLE, metrics or None), the ensemble last."""

  def table(self, name):
    """Returns (columns, rows) of a set; None where a member lacks a metric."""
    rows = self.sets[name]
    columns = list(rows[0][1])
    cells = [(who, *(found.get(c) for c in columns)) for who, found in rows]
    return ('predictor', *columns), cells

  def as_json(self):
    """Returns what eval_ensemble.json holds."""
    return dict(
      how=self.how,
      members=[dict(workdir=path, step=step) for path, step in self.members],
      sets={
        name: [dict(predictor=who, **found) for who, found in rows]
        for name, rows in self.sets.items()
      },
    )


def score_ensemble(workdirs, overrides=None):
  """Returns the Ensemble of runs: the best step of each, on the sets of the first.

  Raises ConfigError, naming the field that differs, for runs that are not of one task,
  with the same labels and the same test data.
  """
  if len(set(workdirs)) < 2:
    raise ConfigError('--ensemble: name at least one other run, such as runs/b,runs/c.')
  members = [_open(path, overrides or {}) for path in workdirs]
  _require_alike(members)
  for member in members:
    _predict(member, members[0].config.eval.batch_size)
  _require_same_examples(members)
  task = members[0].task
  by_row = _have_same_rows(members)
  sets = {}
  for name in members[0].sets:
    records, _ = members[0].found[name]
    together = (_mean_of_rows if by_row else _mean_of_examples)(members, name)
    rows = [(one.workdir, one.found[name][1]) for one in members]
    sets[name] = [
      (who, task.score(records, predictions).json_metrics())
      for who, predictions in [*rows, (ENSEMBLE, together)]
    ]
  return Ensemble(
    how=BY_ROW if by_row else BY_EXAMPLE,
    metric=task.metrics[0],
    members=[(one.workdir, one.step) for one in members],
    sets=sets,
  )


def _open(path, overrides):
  saved = Workdir(path).read_config()
  if saved is None:
    raise ConfigError(f'--ensemble: {path} holds no run.')
  return Member(
    str(path), setup.resolve(saved, overrides | {'checkpoint.keep_best': 0})
  )


def _require_alike(members):
  """Raises ConfigError for the first field in which a member differs from the first."""
  first = members[0]
  if not first.config.task.name:
    raise ConfigError(f'--ensemble: {first.workdir} is a run without a task.')
  if first.task.answers != 'outputs':
    raise ConfigError(
      f'--ensemble: task.name={first.config.task.name!r} writes or compares texts,'
      ' which have no probabilities to average; choose runs with a task head.'
    )
  for other in members[1:]:
    for field, read in (
      ('task.name', lambda config: config.task.name),
      ('task.label_names', lambda config: config.task.label_names),
      ('objective.name', lambda config: config.objective.name),
    ):
      mine, theirs = read(first.config), read(other.config)
      if mine != theirs:
        raise ConfigError(
          f'--ensemble: {field} differs: {mine!r} in {first.workdir}, {theirs!r} in'
          f' {other.workdir}; members are runs of one task.'
        )


def _predict(member, batch_size):
  """Fills in what a member says; its rows come in the batches of the first one."""
  config = dataclasses.replace(
    member.config, eval=dataclasses.replace(member.config.eval, batch_size=batch_size)
  )
  workdir = Workdir(member.workdir)
  tokenizer = setup.open_tokenizer(config, workdir)
  program = setup.open_saved_program(config, tokenizer)
  kept = setup.read_config(workdir).checkpoint
  best = kept.best_metric, kept.keep_best, kept.best_mode
  with CheckpointReader(workdir.checkpoints, *best) as store:
    step = task_end.best_step(store, kept.keep_best)
    params, member.step = restore.load_params(
      store, program.abstract_state.params, step=step, tokenizer=tokenizer
    )
  references, _ = restore.load_references(program, tokenizer)
  member.sets = task_end.final_sets(config, tokenizer)
  for name, dataset in member.sets.items():
    batches = member.batches[name] = []
    evaluated = evaluate_sets(
      program, params, {name: dataset}, progress=progress, references=references,
      on_predictions=lambda _, arrays, to=batches: to.append(arrays),
    )  # fmt: skip
    list(evaluated)
    member.found[name] = decode_rows(dataset, batches)


def _require_same_examples(members):
  first = members[0]
  for other in members[1:]:
    if first.sets.keys() != other.sets.keys():
      raise ConfigError(
        f'--ensemble: eval.sets differs: {", ".join(first.sets)} in {first.workdir},'
        f' {", ".join(other.sets)} in {other.workdir}.'
      )
    for name in first.sets:
      if _examples(first, name) != _examples(other, name):
        raise ConfigError(
          f'--ensemble: task.files differs: set {name!r} of {other.workdir} has other'
          f' examples than that of {first.workdir}; members are scored on the same ones'
          ' (task.too_long=drop leaves out others under another data.seq_len).'
        )
      if any(first.task.gold(record) is None for record in first.found[name][0]):
        raise ConfigError(f'--ensemble: set {name!r} has examples without an answer.')


def _examples(member, name):
  task = member.task
  return [(task.describe(one), task.gold(one)) for one in member.found[name][0]]


def _have_same_rows(members):
  """Returns whether all members read the same rows; else they need `probabilities`."""
  first = members[0]
  different = [
    (name, other)
    for other in members[1:]
    for name, mine in first.sets.items()
    if other.sets[name].fingerprint['task.rows'] != mine.fingerprint['task.rows']
    or other.sets[name].widths != mine.widths
  ]
  if not different:
    return True
  for name, other in different:
    if not all('probabilities' in one for one in other.found[name][1]):
      raise ConfigError(
        f'--ensemble: {other.workdir} reads other rows of {name!r} than {first.workdir}'
        ' (tokenizer, data.seq_len, task.too_long or task.buckets), and predictions of'
        f' task.name={first.config.task.name!r} carry no probabilities to average'
        ' instead.'
      )
  return False


def _mean_of_rows(members, name):
  """Returns the predictions of the mean of what members give for each row."""
  means = MEANS.get(members[0].config.objective.name)
  every = [one.batches[name] for one in members]
  if means is None or not every[0][0].keys() <= means.keys():
    raise ConfigError(
      f'--ensemble: objective.name={members[0].config.objective.name!r} gives no'
      f' probabilities to average; expected one of {", ".join(MEANS)}.'
    )
  batches = [
    {key: means[key]([arrays[key] for arrays in batch]) for key in batch[0]}
    for batch in zip(*every, strict=True)
  ]
  return decode_rows(members[0].sets[name], batches)[1]


def _mean_of_examples(members, name):
  """Returns predictions of the mean of the probabilities that members predict."""
  found = []
  for each in zip(*(one.found[name][1] for one in members), strict=True):
    names = each[0]['probabilities']
    mean = {
      label: float(np.mean([one['probabilities'][label] for one in each]))
      for label in names
    }
    best = max(mean, key=lambda label: mean[label])
    found.append(each[0] | dict(label=best, probabilities=mean))
  return found
