"""Predictions of a model for sets of a task, and what they score.

Task heads answer in the pass that gives the loss. Likelihoods of choices and written
texts need the decoder, `inference.text.TextGenerator`.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from gpt_jax import peft
from gpt_jax.core.errors import DivergedError, note_once
from gpt_jax.evaluation.scores import Scores
from gpt_jax.inference.text import TextGenerator
from gpt_jax.parallel import multihost
from gpt_jax.program.batches import evaluate_sets
from gpt_jax.tasks.encoding import Counts


@dataclasses.dataclass(frozen=True)
class SetResult:
  """Of one set: metrics by name, and for a task its predictions and their Scores."""

  metrics: dict[str, float]
  records: list[Any] = dataclasses.field(default_factory=list)
  predictions: list[dict] = dataclasses.field(default_factory=list)  # of `records`
  scores: Scores | None = None
  rows: str = ''  # digest of what the model read


def score_sets(
  program, params, sets, *, tokenizer, progress=None, references=None, writes=True,
  scored=True,
):  # fmt: skip
  """Yields (name, SetResult) of `{name: Dataset}`, one after the other.

  `writes` False: texts are not written, which takes longest; such tasks have losses.
  `scored` False: predictions are not compared with answers. Metrics that a set leaves
  undefined are nan, and it is said why (`Scores.undefined`). Where a task head gives
  what is no finite number, there are none, and metrics of the task are nan; with
  `scored` False DivergedError is raised.

  Prompts that are too long are among the metrics: `prompts_truncated`, and by
  task.too_long='drop', or beside answers that fill a row, `prompts_dropped`, which
  count as wrong: a score is that of the whole set. A task head leaves dropped examples
  out, `dropped` says how many.
  """
  options = {'progress': progress} if progress else {}
  decoder = _Decoder(program, params, tokenizer)
  for name, dataset in sets.items():
    outputs = []

    def keep(name, arrays, outputs=outputs):
      outputs.append(arrays)

    one = {name: dataset}
    ((_, metrics),) = evaluate_sets(
      program, params, one, references=references, on_predictions=keep, **options
    )
    task = getattr(dataset, 'task', None)
    if task is None:
      yield name, SetResult(metrics)
      continue
    rows = str(dataset.fingerprint['task.rows'])
    if task.answers == 'outputs' and not _are_finite(dataset, outputs):
      problem = 'the model gives numbers that are not finite'
      if not scored:
        raise DivergedError(f'{problem}, for some or all of the examples')
      note_once(f'{name}: {problem}; its answers are not scored')
      yield name, SetResult(metrics | dict.fromkeys(task.metrics, math.nan), rows=rows)
      continue
    if task.answers == 'outputs':
      records, predictions = decode_rows(dataset, outputs)
      if dropped := len(dataset.records) - len(records):
        metrics = metrics | dict(dropped=dropped)
    elif task.answers == 'scoring' or (task.answers == 'writing' and writes):
      records = dataset.records
      shown = None if progress is None else _labelled(progress, f'answers {name}')
      predictions, asked = decoder.answer(task, records, shown)
      metrics = metrics | asked.metrics()
      said = asked.describe_prompts(program.config.data.seq_len)
      if said and multihost.is_primary():
        worth = '; dropped ones count as wrong' * (scored and asked.dropped > 0)
        note_once(f'{name}: {said}{worth}')
    else:
      records = dataset.records if task.answers == 'none' else []  # for baselines
      yield name, SetResult(metrics, records, rows=rows)
      continue
    scores = None
    if scored:
      predictions = [
        task.unanswered(record) | {'dropped': True} if one is None else one
        for record, one in zip(records, predictions, strict=True)
      ]
      scores = task.score(records, predictions)
      _say_undefined(name, scores)
      metrics = metrics | scores.metrics
    yield name, SetResult(metrics, records, predictions, scores, rows)


def decode_rows(dataset, batches):
  """Returns (Records, predictions) of the outputs of a whole TaskDataset for_eval.

  Examples that were dropped as too long have none, and are left out.
  """
  rows, outputs = {}, {}
  for n in range(len(dataset)):
    number = dataset.number(n)
    batch, place = divmod(n, dataset.batch_size)
    owner = int(dataset.owners[number])
    rows.setdefault(owner, []).append((number, dataset.rows[number]))
    one = {name: values[place] for name, values in batches[batch].items()}
    outputs.setdefault(owner, []).append((number, one))
  records, predictions = [], []
  for owner in sorted(rows):
    mine = sorted(rows[owner], key=lambda pair: pair[0])
    theirs = sorted(outputs[owner], key=lambda pair: pair[0])
    records.append(dataset.records[owner])
    predictions.append(
      dataset.task.decode(
        dataset.records[owner], [row for _, row in mine], [one for _, one in theirs]
      )
    )
  if (dropped := len(dataset.records) - len(records)) > 0:
    note_once(f'{dropped:,} examples were dropped as too long and are not scored')
  return records, predictions


def _say_undefined(name, scores):
  """Says, once, which metrics of a set are nan, and why."""
  if scores.undefined and multihost.is_primary():
    lacking = [key for key, value in scores.metrics.items() if math.isnan(value)]
    note_once(f'{name}: {", ".join(lacking)} not defined: {scores.undefined}')


def _are_finite(dataset, batches):
  """Returns whether all outputs of the rows of a TaskDataset are finite numbers."""
  size = dataset.batch_size
  return all(
    np.isfinite(values[: len(dataset) - i * size]).all()
    for i, arrays in enumerate(batches)
    for values in arrays.values()
  )


class _Decoder:
  """A TextGenerator that is made once it is needed, and drops its parameters after."""

  def __init__(self, program, params, tokenizer):
    self._program, self._params, self._tokenizer = program, params, tokenizer

  def answer(self, task, records, progress):
    """Returns (predictions, Counts of the prompts)."""
    program = self._program
    config, params = peft.plain_form(program.config, self._params)
    generator = TextGenerator(config, params, self._tokenizer, program.rules)
    counts = Counts()
    found = task.answer(generator, records, progress, counts)
    generator.engine.release()
    return found, counts


def _labelled(progress, label):
  return lambda items, total: progress(items, label, total)
