"""Single predictions of a task: which are worst, and how scores go with length."""

import dataclasses
import json
from typing import Any

import numpy as np

from gpt_jax.core.errors import StorageError, UserError
from gpt_jax.storage import objects
from gpt_jax.storage.places import place as place_of

MAX_SCORED = 1000
"""Texts scored one by one, evenly spaced: each takes a millisecond or more."""
RIGHT = 1.0  # worth of a prediction
GROUPS = 4  # of lengths: quartiles


SAID = ('label', 'text', 'tags', 'preferred', 'value', 'score')
"""Parts of predictions, the first of which says what was predicted."""


@dataclasses.dataclass(frozen=True)
class Example:
  """A line of predictions/SET.jsonl."""

  place: str
  text: str
  answer: Any
  prediction: dict[str, Any]
  record: Any = None  # None: the data are not there, or are other ones
  worth: float | None = None  # 1: right; lower is worse; None: not known
  length: int = 0  # of the text: tokens, or characters

  @property
  def confidence(self):
    """The probability that the prediction gives itself; None without one."""
    if 'probabilities' in self.prediction:
      return max(self.prediction['probabilities'].values())
    return self.prediction.get('probability')

  @property
  def said(self):
    """What was predicted, in short: a label, a text, or all of it."""
    for name in SAID:
      if name in self.prediction:
        return self.prediction[name]
    return self.prediction

  @property
  def is_number(self):
    """Whether a number was predicted, whose worth is how far off it is."""
    return not {'label', 'text', 'tags'} & self.prediction.keys() and isinstance(
      self.said, int | float
    )


def read_lines(workdir, name):
  """Returns the lines of predictions/NAME.jsonl as dicts, [] without such a file."""
  path = place_of(workdir.predictions / f'{name}.jsonl')
  if not path.exists():
    return []
  found = []
  # Only \n ends a line: texts have other separators, such as U+2028, as they are.
  for number, line in enumerate(path.read_text(encoding='utf-8').split('\n'), 1):
    if not line:
      continue
    try:
      found.append(json.loads(line))
    except json.JSONDecodeError as error:
      raise StorageError(
        f'{path}, line {number}: no JSON ({error}); score the run again: gpt-jax eval'
        f' --workdir={workdir}'
      ) from error
  return found


def sets_in(workdir):
  """Returns the names of the sets that predictions/ has, sorted."""
  names = objects.names_in(workdir.predictions)
  return [name.removesuffix('.jsonl') for name in names if name.endswith('.jsonl')]


def make_examples(lines, task, records, length_of):
  """Returns the Examples of lines of predictions.

  Args:
    lines: as `read_lines` gives them.
    task: their Task.
    records: Records of the set; [] where the data are gone. A line whose record is not
      among them keeps what the line says.
    length_of: `(text) -> int`.
  """
  known = {(one.place, task.describe(one)): one for one in records}
  examples = [
    Example(
      line['place'], line['input'], line['answer'], line['prediction'],
      known.get((line['place'], line['input'])), length=length_of(line['input']),
    )
    for line in lines
  ]  # fmt: skip
  count = len(examples)
  chosen = set(np.linspace(0, count - 1, min(count, MAX_SCORED)).round().astype(int))
  return [
    dataclasses.replace(one, worth=_worth(one, task, may_score=i in chosen))
    for i, one in enumerate(examples)
  ]


def _worth(one, task, may_score):
  prediction, answer = one.prediction, one.answer
  if answer is None:
    return None
  if 'label' in prediction or 'preferred' in prediction:
    return float(str(one.said) == str(answer))
  if one.is_number:
    try:
      return -abs(float(one.said) - float(answer))
    except (TypeError, ValueError):
      return None
  if prediction.get('tags') == answer:  # no entity, and none found: F1 would be 0
    return RIGHT
  if one.record is None or not may_score:
    return None
  try:
    metrics = task.score([one.record], [prediction]).metrics
  except UserError:  # of several examples only, such as a correlation
    return None
  value = metrics.get(task.metrics[0])
  return value if value is None or task.higher_is_better else -value


def worst(examples, count=10):
  """Returns the `count` worst Examples: surest of what is wrong, else lowest in worth.

  Right ones are no errors, and not among them.
  """
  wrong = [one for one in examples if one.worth is not None and one.worth != RIGHT]
  return sorted(wrong, key=lambda one: (one.worth, -(one.confidence or 0.0)))[:count]


def confusions(examples, count=10):
  """Returns [(gold, predicted, how often)] of the most frequent wrong labels."""
  found = {}
  for one in examples:
    if 'label' in one.prediction and one.worth == 0.0:
      pair = str(one.answer), str(one.said)
      found[pair] = found.get(pair, 0) + 1
  ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
  return [(*pair, times) for pair, times in ranked[:count]]


def judged(examples):
  """Returns (confidence [N], whether right [N]) of predictions with a probability."""
  pairs = [
    (one.confidence, one.worth == RIGHT)
    for one in examples
    if one.confidence is not None and one.worth is not None
  ]
  confidence, is_right = zip(*pairs, strict=True) if pairs else ((), ())
  return np.array(confidence, float), np.array(is_right, bool)


def by_length(examples, task):
  """Returns [(shortest, longest, how many, metrics)] of quartiles of the length.

  Metrics are those of the task on these examples; where the data are gone, the share
  that is right, if that is known.
  """
  if not examples:
    return []
  ordered = sorted(examples, key=lambda one: one.length)
  lengths = np.array([one.length for one in ordered])
  # Equal lengths stay together.
  cuts = np.quantile(lengths, np.arange(1, GROUPS) / GROUPS, method='lower')
  group_N = np.searchsorted(cuts, lengths, side='left')
  found = []
  for group in np.unique(group_N):
    part = [ordered[i] for i in np.flatnonzero(group_N == group)]
    metrics = _metrics(part, task)
    found.append((part[0].length, part[-1].length, len(part), metrics))
  return found


def _metrics(examples, task):
  if all(one.record is not None and one.answer is not None for one in examples):
    try:
      records = [one.record for one in examples]
      return task.score(records, [one.prediction for one in examples]).json_metrics()
    except UserError:  # such as one class alone
      return {}
  worths = [one.worth for one in examples if 'label' in one.prediction]
  if not worths or None in worths:
    return {}
  return {'accuracy': float(np.mean(worths))}
