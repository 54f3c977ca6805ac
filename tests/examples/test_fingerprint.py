"""Fingerprints follow the content of files, not their names."""

import shutil

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import fingerprint


def test_content_counts_and_places_do_not(write, tmp_path):
  one, two = write('a.tsv', 'a\t1\n'), write('b.tsv', 'b\t0\n')
  copy = tmp_path / 'elsewhere.tsv'
  shutil.copy(one, copy)

  def of(**files):
    return fingerprint.of_files(files, 'auto', data_dir=str(tmp_path))

  assert len(of(train='a.tsv')) == 64
  assert of(train='a.tsv') == of(train=str(copy)) == of(train=['elsewhere.tsv'])
  different = {
    of(train='a.tsv'),
    of(train='b.tsv'),
    of(test='a.tsv'),
    of(train=['a.tsv', 'b.tsv']),
    of(train=['b.tsv', 'a.tsv']),
    of(train='a.tsv', test='b.tsv'),
  }
  assert len(different) == 6
  before = of(train='b.tsv')
  two.write_text('b\t1\n')
  assert of(train='b.tsv') != before


def test_tables_of_a_folder_count(write, tmp_path):
  write('ml/ratings.csv', 'x')
  write('ml/movies.csv', 'y')

  def found():
    return fingerprint.of_files({'all': str(tmp_path / 'ml')}, 'movielens')

  before = found()
  write('ml/README', 'about')
  assert found() == before
  write('ml/movies.csv', 'z')
  assert found() != before
  with pytest.raises(DataError, match='no such file'):
    fingerprint.of_files({'all': str(tmp_path / 'none')}, 'movielens')
