"""Predictions of a fine-tuned run for new examples."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError, DataError, DivergedError
from gpt_jax.examples import fields
from gpt_jax.examples.record import Record
from gpt_jax.program import setup, task_data
from gpt_jax.tasks import make_task
from gpt_jax.train.task_scores import score_sets

BATCH = 32


class Predictor:
  """Predicts for records or texts, as the evaluation of the run does."""

  def __init__(self, config, params, tokenizer, source='the model', batch_size=BATCH):
    """Takes the Config of a run with a task, and its parameters as in training.

    `source`: what messages call it; `batch_size`: rows that are read at once, of a
    single example as few as the mesh allows. Raises ConfigError for a run without a
    task, or of one that has no answers, DivergedError for parameters that are not
    finite.
    """
    if not config.task.name:
      raise ConfigError(
        'predict: this run was trained without a task (task.name is empty); for text'
        ' use `gpt-jax generate`, for vectors `gpt-jax embed`.'
      )
    task = make_task(config)
    assert task is not None
    if task.answers == 'none':
      raise ConfigError(
        f'predict: task.name={config.task.name!r} has no answers to predict, losses'
        ' alone; for text use `gpt-jax generate`, for losses `gpt-jax eval`.'
      )
    self._source = source
    for name, leaf in pytree.named_leaves(params):
      if not bool(jnp.isfinite(leaf).all()):
        raise self._diverged(f'{name} has numbers that are not finite')
    self.task = task
    config = _with_rows(config, batch_size)
    self._tokenizer = tokenizer
    self._program = setup.open_saved_program(config, tokenizer)
    # A server is asked about one text at a time: without rows of padding.
    fewest = _with_rows(
      config, min(self._program.rules.num_shards('batch'), batch_size)
    )
    self._program_of_one = dataclasses.replace(self._program, config=fewest)
    abstract = self._program.abstract_state.params
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    self._params = jax.device_put(params, shardings)

  def predict(self, examples, progress=None):
    """Returns a prediction for each of `examples`, dicts of plain JSON values.

    An example is a text, for tasks that read one, or a dict of the task's fields, or a
    Record. Examples that are dropped as too long have None. Raises DivergedError where
    the model gives what is no number.
    """
    records = [self._record(i, one) for i, one in enumerate(examples)]
    if not records:
      return []
    found: list[dict | None] = [None] * len(records)
    program = self._program_of_one if len(records) == 1 else self._program
    try:
      dataset = task_data.make_dataset(
        program.config, self._tokenizer, records, 'predict', for_eval=True
      )
    except task_data.AllDropped:
      return found
    try:
      ((_, result),) = score_sets(
        program, self._params, {'predict': dataset}, tokenizer=self._tokenizer,
        progress=progress, scored=False,
      )  # fmt: skip
    except DivergedError as error:
      raise self._diverged(error) from error
    # Outputs of rows are of the records that have some, in ascending order.
    is_of_rows = self.task.answers == 'outputs'
    numbers = np.unique(dataset.owners) if is_of_rows else range(len(records))
    for number, prediction in zip(numbers, result.predictions, strict=True):
      found[number] = prediction
      if _has_nan(prediction):
        raise self._diverged(f'{records[number].place}: the prediction is {prediction}')
    return found

  def _diverged(self, what):
    return DivergedError(
      f'predict: {self._source}: {what}: the training diverged, and nothing is'
      ' predicted. Choose another step (--step=N, those in checkpoints/; from Python'
      ' load(..., step=N)), or train again with a lower optimizer.learning_rate.'
    )

  def _record(self, i, example):
    if isinstance(example, Record):
      record = example
    elif isinstance(example, str):
      record = Record(self.task.values_of(example), f'text {i}')
    elif isinstance(example, dict):
      record = Record(dict(example), f'example {i}')
    else:
      raise DataError(
        f'example {i} is {type(example).__name__}; expected a text, or a dict with'
        f' {", ".join(self.task.needs)}.'
      )
    record = without_answer(self.task, record)
    fields.check(record.values, record.place)
    self.task.check(record)
    return record


def _with_rows(config, batch_size):
  settings = dataclasses.replace(config.eval, batch_size=batch_size)
  return dataclasses.replace(config, eval=settings)


def _has_nan(found):
  """Returns whether a number in plain JSON values is none."""
  if isinstance(found, dict):
    return any(map(_has_nan, found.values()))
  if isinstance(found, list | tuple):
    return any(map(_has_nan, found))
  return isinstance(found, float) and math.isnan(found)


def without_answer(task, record):
  """Returns a Record without its answer, which may be '', or -1, and is not read."""
  if task.target in task.inputs or task.target not in record.values:
    return record
  kept = {name: one for name, one in record.values.items() if name != task.target}
  return Record(kept, record.place)


def columns_of_inputs(config, keys):
  """Returns task.columns without answers, which files need not have.

  `keys`: those that the records of the file have.
  """
  task = make_task(config)
  assert task is not None
  return {
    field: key
    for field, key in config.task.columns.items()
    if field in task.inputs
    or (field != task.target and set(np.atleast_1d(key)) <= set(keys))
  }
