"""What a task is: from records to rows for the model, from its outputs to scores.

A task serves training, evaluation and prediction alike. `dataset.py` makes batches of
its rows; the objective that it names trains on them and gives outputs row by row.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt_jax.core import extras
from gpt_jax.core.errors import DataError
from gpt_jax.core.registry import nearest
from gpt_jax.evaluation.scores import Scores
from gpt_jax.examples.record import Record

FOR_PREDICT = (
  'A file without answers scores nothing: leave it out of task.files, and give it to'
  ' `gpt-jax predict --input=FILE`.'
)
NO_LABEL = '-1'
"""What GLUE's test files have for labels that are not told."""


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
  """What the model reads of a record; one record may make several."""

  tokens: np.ndarray  # int32 [n]
  fields: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  """Arrays [n] beside the tokens, as in `data.fields`; `Task.fields` names them."""
  note: Any = None
  """What `Task.decode` needs of the row, such as where its tokens stand in the text."""
  lengths: tuple[int, ...] = ()
  """Tokens of each of several rows that stand side by side in it (`packed.py`)."""


class Task:
  """Base of all tasks; subclasses set the fields and define what is not here.

  A prediction is a dict of plain JSON values.
  """

  name: str  # entry of TASKS
  inputs: tuple[str, ...]  # fields that a record has to have ...
  target: str = 'label'  # ... and the one to predict, absent in new records
  objectives: tuple[str, ...] = ('class_labels',)  # that train it, the default first
  fields: tuple[str, ...] = ('labels',)  # of rows, beside the tokens
  metrics: tuple[
    str, ...
  ]  # that `score` gives, the one to choose a checkpoint by first
  higher_is_better = True  # of the first of them
  packages: tuple[tuple[str, str], ...] = ()  # (module, package) that `score` needs
  packing = 'pad'  # first_fit: in training several rows side by side (`packed.py`)
  has_labels = False  # whether answers are among `label_names`
  # Where predictions come from: outputs of rows (`decode`); scoring of choices, or
  # writing of texts (`answer`); none: a set has losses alone.
  answers = 'outputs'

  def __init__(self, config):
    """Takes a Config whose task.name is this one."""
    self.config, self.cfg = config, config.task
    self.label_names: tuple[str, ...] = tuple(config.task.label_names)

  @property
  def num_outputs(self):
    """Outputs of the task head; None: the objective's own default."""
    return len(self.label_names) if self.has_labels else None

  def require_packages(self) -> None:
    """Raises ConfigError where a package for the scores is not installed."""
    for module, package in self.packages:
      use = f'The scores of task.name={self.name!r}'
      extras.load(module, extra='tasks', package=package, use=use)

  def check(self, record: Record) -> None:
    """Raises DataError, naming the place, where a record is none of this task."""
    for field in self.inputs:
      self.text_of(record, field)

  def labels_of(self, records: Sequence[Record]) -> tuple[str, ...]:
    """Returns the label names that records of the training split have, sorted."""
    return tuple(sorted({str(self.gold(record)) for record in records}))

  def encode(self, record: Record, encoder, is_training: bool) -> list[Row]:
    """Returns the Rows of a record; none where it is too long and dropped."""
    raise NotImplementedError

  def decode(self, record: Record, rows: Sequence[Row], outputs) -> dict[str, Any]:
    """Returns the prediction for a record.

    `outputs`: of each row, what `Objective.predictions` says, as arrays by name.
    """
    raise NotImplementedError

  def answer(
    self, generator, records, progress=None, counts=None
  ) -> list[dict[str, Any] | None]:
    """Returns the predictions for Records, by a model that scores or writes texts.

    None for a prompt that is too long and dropped: by task.too_long='drop', or since
    nothing of it fits beside its answers.

    Args:
      generator: an `inference.text.TextGenerator`.
      records: Records, with or without answers.
      progress: `(iterable, total) -> iterable`, for the screen.
      counts: `encoding.Counts`, to which prompts are added, and what became of them.
    """
    raise NotImplementedError

  def unanswered(self, record: Record) -> dict[str, Any]:
    """Returns what a record without a prediction is scored as: a wrong one."""
    del record
    return {'text': ''}

  def gold(self, record: Record) -> Any:
    """Returns the answer of a record, as `score` compares it."""
    value = record.values.get(self.target)
    # No class differs from another by the spaces around its name.
    return value.strip() if self.has_labels and isinstance(value, str) else value

  def has_answer(self, record: Record, is_training: bool) -> bool:
    """Returns whether a record can be learned from, or be scored."""
    del is_training
    return self.gold(record) is not None

  def missing_answer(self, record: Record) -> str:
    """Returns what a record without an answer lacks, and where it would stand."""
    known = ', '.join(map(str, record.values))
    return (
      f'has no {self.target!r}, which task.name={self.name!r} learns and is scored by;'
      f' it has {known}. Say where it stands: task.columns={{{self.target!r}: ...}}; or'
      ' leave the example out.'
    )

  def require_answer(self, record: Record, is_training: bool) -> None:
    """Raises DataError, naming the place, for a record that has no answer."""
    if not self.has_answer(record, is_training):
      advice = '' if is_training else f' {FOR_PREDICT}'
      raise DataError(f'{record.place}: {self.missing_answer(record)}{advice}')

  def score(self, records, predictions) -> Scores:
    """Returns the Scores of predictions for records that have answers."""
    raise NotImplementedError

  def baselines(self, train, records) -> dict[str, list[dict[str, Any]]]:
    """Returns predictions of methods without a neural network, by their names.

    train, records: Records of the training split, and those to predict.
    """
    del train, records
    return {}

  @property
  def needs(self) -> tuple[str, ...]:
    """Fields that a new record needs, as this run has learned to read it."""
    return self.inputs

  def values_of(self, text: str) -> dict[str, Any]:
    """Returns the fields of a record that is one text."""
    if len(self.needs) != 1:
      raise DataError(
        f'task.name={self.name!r} reads {", ".join(self.needs)}, which the text'
        f' {text[:40]!r} alone does not tell: give a file of examples with these fields'
        ' (`gpt-jax predict --input=FILE`), or from Python a dict of them.'
      )
    return dict.fromkeys(self.needs, text)

  def describe(self, record: Record) -> str:
    """Returns the input of a record as one text, for reports."""
    return '\n'.join(str(record.values[field]) for field in self.inputs)

  def texts(self, record: Record) -> list[str]:
    """Returns the texts of a record from which a tokenizer learns its vocabulary."""
    return [self.describe(record)]

  # For subclasses

  def text_of(self, record, field):
    """Returns a text of a record; DataError for what is missing, empty or no text."""
    value = record.values.get(field)
    if value is None:
      known = ', '.join(map(str, record.values))
      raise DataError(
        f'{record.place}: has no {field!r}, which task.name={self.name!r} reads; it'
        f' has {known}. Say where it stands: task.columns={{{field!r}: ...}}.'
      )
    if not isinstance(value, str):
      raise DataError(
        f'{record.place}: {field!r} is {type(value).__name__}; expected text.'
      )
    if not value.strip():
      raise DataError(f'{record.place}: {field!r} is empty; leave the example out.')
    return value

  def label_id(self, record):
    """Returns the id of a record's label; -1 without one, DataError if unknown."""
    value = record.values.get(self.target)
    if value is None:
      return -1
    name = str(value).strip()
    if name not in self._label_ids:
      known = ', '.join(self.label_names)
      hint = nearest(name, self.label_names)
      raise DataError(
        f'{record.place}: {self.target}={name!r}: expected one of {known}'
        + (f'; did you mean {hint!r}?' if hint else '')
        + ' (task.label_names; empty: those of the training split).'
        + advice(value)
      )
    return self._label_ids[name]

  @property
  def _label_ids(self):
    if not hasattr(self, '_ids'):
      self._ids = {name: i for i, name in enumerate(self.label_names)}
    return self._ids


def advice(value):
  """Returns a sentence to add to the refusal of a label that says there is none, or ''.

  `value`: the label as the file has it.
  """
  return f' {NO_LABEL} tells no label. {FOR_PREDICT}' * (str(value) == NO_LABEL)
