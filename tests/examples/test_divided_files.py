"""Files that hold the training and the validation split, beside those of the test."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.examples import splits

COLUMNS = {'text': '0', 'label': '1'}
ROWS = [(f'text {i % 1500}', str(i % 2)) for i in range(2000)]  # 500 copies
FILES = {'train+validation': 'rows.tsv', 'test': 'test.tsv'}


@pytest.fixture
def load(tmp_path):
  rows = ''.join(f'{text}\t{label}\n' for text, label in ROWS)
  (tmp_path / 'rows.tsv').write_text(rows)
  (tmp_path / 'test.tsv').write_text('a\t0\nb\t1\n')

  def load(files, split):
    found = splits.load(files, 'auto', COLUMNS, split, data_dir=str(tmp_path))
    return [tuple(record.values.values()) for record in found]

  return load


def test_a_hash_divides_85_15_and_leaves_the_test_alone(load):
  parts = {split: load(FILES, split) for split in ('train', 'validation', 'test')}
  assert parts['test'] == [('a', '0'), ('b', '1')]
  assert sorted(parts['train'] + parts['validation']) == sorted(ROWS)
  assert load(FILES, 'train+validation') == ROWS
  train, validation = ({text for text, _ in parts[s]} for s in ('train', 'validation'))
  assert not train & validation
  # Three standard deviations of 1500 independent draws.
  assert len(validation) / 1500 == pytest.approx(0.15, abs=0.028)


def test_files_of_a_split_are_found_by_their_holder():
  assert splits.holder(FILES, 'train') == 'train+validation'
  assert splits.holder(FILES, 'test') == 'test'
  assert splits.holder({'all': 'a'}, 'test') == 'all'
  assert splits.holder({'train': 'a', 'test': ''}, 'test') is None


@pytest.mark.parametrize(
  'files', [FILES | {'train': 'rows.tsv'}, FILES | {'all': 'rows.tsv'}]
)
def test_files_of_a_split_are_given_once(load, files):
  with pytest.raises(ConfigError, match='expected files for each split'):
    load(files, 'train')
