"""The examples of a task as its report tells them: counts, labels, lengths, leakage."""

import collections
import dataclasses
from typing import Any

import numpy as np

from gpt_jax.core.errors import UserError
from gpt_jax.examples import leakage
from gpt_jax.examples.reading import reading_once
from gpt_jax.program import task_data
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.train.task_end import TEST

TRAIN = 'train'
MAX_COUNTED = 20_000
"""Examples of a split that are read again as rows, evenly spaced."""
MAX_LABELS = 60  # of a table


@dataclasses.dataclass
class Splits:
  """Records by set, TRAIN among them; `problem` says why there are none."""

  records: dict[str, list[Any]]
  problem: str = ''

  @property
  def train(self):
    return self.records.get(TRAIN, [])


@reading_once()
def read(config):
  """Returns the Splits of a Config: training, eval.sets and the test split.

  Data that are gone, or cannot be read, are a problem, no error.
  """
  sets = {name: fields.get('split', name) for name, fields in config.eval.sets.items()}
  if TEST not in sets.values():
    sets[TEST] = TEST
  try:
    found = {TRAIN: task_data.records_of(config, TRAIN)}
    for name, split in sets.items():
      found[name] = task_data.records_of(config, split)
  except (UserError, OSError) as error:
    return Splits({}, str(error))
  return Splits({name: records for name, records in found.items() if records})


def label_counts(task, splits):
  """Returns (labels, {set: how many of each}) of tasks that choose among labels.

  Tags count one by one. ([], {}) for other tasks; the most frequent MAX_LABELS.
  """
  counts = {}
  for name, records in splits.records.items():
    counts[name] = counter = collections.Counter()
    for record in records:
      gold = task.gold(record)
      if task.has_labels and isinstance(gold, list):
        counter.update(map(str, gold))
      elif task.has_labels and gold is not None:
        counter[str(gold)] += 1
  total = sum(counts.values(), collections.Counter())
  if not total:
    return [], {}
  order = {name: i for i, name in enumerate(task.label_names)}
  names = [name for name, _ in total.most_common(MAX_LABELS)]
  return sorted(names, key=lambda name: order.get(name, len(order))), counts


def too_long(config, task, tokenizer, records):
  """Returns (sentence, mean tokens of a row) of the rows that records become.

  The sentence is '' where all fit into data.seq_len.
  """
  count = len(records)
  chosen = np.linspace(0, count - 1, min(count, MAX_COUNTED)).round().astype(int)
  encoder = Encoder(tokenizer, config.data, config.task)
  rows = [
    row for i in chosen for row in task.encode(records[i], encoder, is_training=False)
  ]
  mean = float(np.mean([len(row.tokens) for row in rows])) if rows else 0.0
  return encoder.counts.describe(encoder.max_tokens), mean


def shared(splits):
  """Returns sentences about examples that stand in two splits, none where none do."""
  names = [name for name in splits.records if name != TRAIN]
  pairs = [(TRAIN, name) for name in names]
  pairs += [(one, other) for i, one in enumerate(names) for other in names[i + 1 :]]
  found = []
  for one, other in pairs:
    if not splits.records.get(one):
      continue
    both = leakage.count(splits.records[one], splits.records[other])
    if both.num_shared:
      # `report` speaks of training.
      text = both.report(other).replace('also in train', f'also in {one}')
      first, second = both.examples[0]
      found.append(f'{text}, such as {second} = {first}')
  return found
