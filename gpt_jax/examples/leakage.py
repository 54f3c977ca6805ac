"""Held-out examples whose texts are in the training set, too."""

import dataclasses
import json

from gpt_jax.examples import fields


@dataclasses.dataclass(frozen=True)
class Leakage:
  """How many examples of a set are also in another."""

  num_shared: int
  num_other: int
  examples: tuple[tuple[str, str], ...]
  """The first few: (place in training, place in the other set)."""

  def report(self, name='test'):
    """Returns `test: 12 of 1,821 examples are also in train (0.7 %)`."""
    share = self.num_shared / max(1, self.num_other)
    verb = 'is' if self.num_shared == 1 else 'are'
    return (
      f'{name}: {self.num_shared:,} of {self.num_other:,} examples {verb} also in train'
      f' ({share:.1%})'.replace('%)', ' %)')
    )


def count(train_records, other_records, num_examples=5):
  """Returns the Leakage of what a model reads of records, labels and answers aside.

  Texts are equal that differ in case and white space alone.
  """
  seen = {}
  for record in train_records:
    seen.setdefault(_key(record), record.place)
  total, shared = 0, []
  for record in other_records:
    total += 1
    if (place := seen.get(_key(record))) is not None:
      shared.append((place, record.place))
  return Leakage(len(shared), total, tuple(shared[:num_examples]))


def _key(record):
  return json.dumps(_normal(fields.inputs(record)), sort_keys=True)


def _normal(found):
  if isinstance(found, str):
    return ' '.join(found.casefold().split())
  if isinstance(found, dict):
    return {name: _normal(one) for name, one in found.items()}
  return [_normal(one) for one in found]
