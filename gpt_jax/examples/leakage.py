"""Held-out examples whose texts are in the training set, too."""

import dataclasses

from gpt_jax.examples import fields


@dataclasses.dataclass(frozen=True)
class Leakage:
  """How many examples of a set are also in another."""

  num_shared: int
  num_other: int
  examples: tuple[tuple[str, str], ...]
  """The first few: (place in training, place in the other set)."""

  def report(self, name='test', other='train'):
    """Returns `test: 12 of 1,821 examples are also in train (0.7 %)`."""
    share = self.num_shared / max(1, self.num_other)
    verb = 'is' if self.num_shared == 1 else 'are'
    return (
      f'{name}: {self.num_shared:,} of {self.num_other:,} examples {verb} also in'
      f' {other} ({share:.1%})'.replace('%)', ' %)')
    )


def count(train_records, other_records, num_examples=5):
  """Returns the Leakage of what a model reads of records, labels and answers aside.

  Texts are equal that differ in case and white space alone.
  """
  return _counted(_places(train_records), other_records, num_examples)


def reports(train, validation, test):
  """Returns sentences on what sets share that should share nothing, [] without any.

  Training with each of the others, and validation sets with those of the test.

  Args:
    train: Records, of all members of a mixture.
    validation, test: `{name of a set: Records}`.
  """
  held_out = validation | test
  pairs = [('train', train, held_out)] if held_out else []
  pairs += [(name, records, test) for name, records in validation.items() if test]
  found = []
  for known, records, others in pairs:
    places = _places(records)
    for name, each in others.items():
      shared = _counted(places, each)
      if shared.num_shared:
        found.append(shared.report(name, known))
  return found


def _places(records):
  """Returns {digest of what a model reads: where the first such record stands}."""
  found = {}
  for record in records:
    found.setdefault(fields.input_digest(record), record.place)
  return found


def _counted(places, records, num_examples=5):
  total, shared = 0, []
  for record in records:
    total += 1
    if (place := places.get(fields.input_digest(record))) is not None:
      shared.append((place, record.place))
  return Leakage(len(shared), total, tuple(shared[:num_examples]))
