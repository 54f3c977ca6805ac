"""How often documents of a source are written."""

import types

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import epochs
from tests.corpus import texts


def context(*names):
  data = types.SimpleNamespace(mixture={name: {'weight': 1} for name in names})
  return types.SimpleNamespace(config=types.SimpleNamespace(data=data))


def make(*sources):
  return epochs.make(epochs.Options(sources=sources), context('wiki', 'web'))


def test_copies_add_up_to_the_epochs_of_a_source():
  step = make('wiki=2.25', 'web=0.5')
  documents = [texts.document(str(i), member='wiki') for i in range(2000)]
  counts = [step.copies(each) for each in documents]
  assert set(counts) == {2, 3}
  assert sum(counts) / 2000 == pytest.approx(2.25, abs=0.05)  # five standard errors
  web = [texts.document(str(i), member='web') for i in range(2000)]
  gone = [step.keep(each) == 'beyond the epochs of its source' for each in web]
  assert sum(gone) / 2000 == pytest.approx(0.5, abs=0.06)
  assert [step.copies(each) for each in web] == [1 - out for out in gone]
  assert step.copies(texts.document('x', member='books')) == 1


def test_held_out_documents_are_written_once():
  document = texts.document('x', 'validation', 'wiki')
  assert make('wiki=3').copies(document) == make('wiki=0').copies(document) == 1
  assert make('wiki=0').keep(document) is None


@pytest.mark.parametrize(
  'sources, message',
  [
    (('wikki=2',), "no 'wikki' in data.mixture; did you mean 'wiki'"),
    (('wiki=-1',), "'wiki=-1'; expected NAME=EPOCHS with a number from 0 to 100"),
    (('wiki',), "'wiki'; expected NAME=EPOCHS"),
    (('wiki=x',), "'wiki=x'; expected NAME=EPOCHS"),
    (('wiki=nan',), "'wiki=nan'; expected NAME=EPOCHS"),
    ((), 'expected sources=NAME=EPOCHS'),
  ],
)
def test_what_is_no_source_or_number_is_refused(sources, message):
  with pytest.raises(ConfigError, match=message):
    make(*sources)
