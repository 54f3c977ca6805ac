"""Eval sets that share documents with training are named."""

import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import note_once
from gpt_jax.data import overlap


def said(capsys, train, held_out):
  """Returns whether it is said that two sets of data fields overlap."""
  note_once.cache_clear()
  configs = [
    load.resolve(base.get_config(), {f'data.{k}': v for k, v in fields.items()}).data
    for fields in (train, held_out)
  ]
  overlap.note_overlap(*configs, 'held_out')
  err = capsys.readouterr().err
  assert err == '' or err.startswith('eval.sets.held_out: data.split=')
  return bool(err)


@pytest.mark.parametrize(
  'train, held_out, expected',
  [
    ('train', 'validation', False),
    ('train', 'train', False),  # to score the training data, as such
    ('all', 'validation', True),
    ('train', 'all', True),
  ],
)
def test_all_shares_documents_with_each_split(train, held_out, expected, capsys):
  text = dict(source='text', path='a.txt')
  one, other = text | dict(split=train), text | dict(split=held_out)
  assert said(capsys, one, other) == expected
  assert not said(capsys, one, other | dict(path='b.txt'))


@pytest.mark.shared
@pytest.mark.parametrize(
  'train, held_out, expected',
  [
    ('train', 'validation', False),
    ('train', 'train[90%:]', True),
    ('train[:90%]', 'train[90%:]', False),
    ('train[:91%]', 'train[90%:]', True),
    ('train[5:10]+validation', 'validation', True),
  ],
)
def test_slices_of_a_tfds_set(train, held_out, expected, shared_tfds, capsys):
  here = dict(source='tfds', name='c4_demo', data_dir=str(shared_tfds))
  one, other = here | dict(split=train), here | dict(split=held_out)
  assert said(capsys, one, other) == expected
