"""Files that are read once for all that ask for their examples."""

import gc
import json
import weakref

import pytest

from gpt_jax import examples
from gpt_jax.core.errors import DataError
from gpt_jax.examples import reading, splits


@pytest.fixture
def reads(tmp_path, monkeypatch):
  """Returns (files, list with an item for each time that a file was read)."""
  path = tmp_path / 'all.jsonl'
  lines = [json.dumps({'text': f'text {i}', 'label': i % 2}) for i in range(40)]
  path.write_text('\n'.join(lines) + '\n')
  done, read_lines = [], examples.READERS['jsonl']

  def counted(paths, encoding):
    done.append(paths)
    return read_lines(paths, encoding)

  monkeypatch.setitem(examples.READERS, 'jsonl', counted)
  return {'all': str(path)}, done


def load(files, split, **options):
  found = splits.load(files, 'auto', {}, split, **options)
  return [record.values['text'] for record in found]


def test_a_file_is_read_once_for_all_splits(reads):
  files, done = reads
  apart = [load(files, split) for split in splits.BOUNDS]
  assert len(done) == 3
  with reading.reading_once(), reading.reading_once():
    for _ in range(2):
      assert [load(files, split) for split in splits.BOUNDS] == apart
    few, more = (load(files, 'train', limit=limit) for limit in (5, 6))
    assert len(few) == 5 and set(few) < set(more)
  assert len(done) == 4


def test_other_columns_or_files_are_read_anew(reads):
  files, done = reads
  with reading.reading_once():
    load(files, 'train')
    splits.load(files, 'auto', {'text': 'text'}, 'train')
    load({'train': files['all']}, 'train')
  assert len(done) == 2  # the whole file is what `train` has


def test_records_are_let_go_and_read_again_afterwards(reads):
  files, done = reads
  with reading.reading_once():
    found = splits.load(files, 'auto', {}, 'train')
    found.clear()  # the list is the caller's own
    one = weakref.ref(splits.load(files, 'auto', {}, 'train')[0])
    assert one() is not None
  gc.collect()
  assert one() is None
  load(files, 'train')
  assert len(done) == 2


def test_what_fails_is_not_kept(tmp_path):
  with reading.reading_once():
    with pytest.raises(DataError, match='no such file'):
      load({'train': str(tmp_path / 'a.jsonl')}, 'train')
    (tmp_path / 'a.jsonl').write_text('{"text": "a"}\n')
    assert load({'train': str(tmp_path / 'a.jsonl')}, 'train') == ['a']
