"""Readers by name and by the ending of files."""

import inspect

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.examples import READERS, formats, tables


@pytest.mark.parametrize('ending, name', formats.ENDINGS.items())
def test_endings_stand_for_readers(ending, name):
  for path in (f'a{ending}', f'b.c/a{ending}.gz', f'A{ending.upper()}'):
    assert formats.reader_for([path], 'auto') is READERS[name]


def test_a_name_wins_over_the_ending():
  assert formats.reader_for(['a.json'], 'squad') is READERS['squad']
  plugin = 'gpt_jax.examples.tables:read_csv'
  assert formats.reader_for(['a'], plugin) is tables.read_csv


@pytest.mark.parametrize(
  'paths, name, message',
  [
    (['a.tsv'], 'tsv_heade', "task.reader='tsv_heade': .*did you mean 'tsv_header'"),
    (['a.jsnl'], 'auto', r'ending of a.jsnl; .*did you mean .jsonl\?'),
    (['data.d/a'], 'auto', 'ending of data.d/a; endings are .tsv'),
    (['a.tsv', 'a.csv'], 'auto', r'several readers \(csv, tsv\)'),
  ],
)
def test_what_no_reader_is_known_for_is_named(paths, name, message):
  with pytest.raises(ConfigError, match=message):
    formats.reader_for(paths, name)


def test_every_reader_says_what_it_yields():
  for name, read in READERS.items():
    assert (inspect.getdoc(read) or '').startswith('Yields '), name
    assert list(inspect.signature(read).parameters)[:2] == ['paths', 'encoding'], name
