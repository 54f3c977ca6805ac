"""Files named after splits, and files beside them: nothing held out is trained on."""

import dataclasses
import errno
import os
import pathlib
import shutil

import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import DataError, note_once
from gpt_jax.data import files, pipeline
from gpt_jax.data.tokenizers import ByteTokenizer
from tests.data.test_sources import SPLITS, texts, write_array_records

FORMATS = {
  'text': ('.txt', lambda path, text: path.write_text(text)),
  'jsonl': ('.jsonl', lambda path, text: path.write_text(f'{{"text": "{text}"}}\n')),
  'array_record': (
    '.array_record',
    lambda path, text: write_array_records(path, [text.encode()]),
  ),
}


@pytest.fixture
def write(tmp_path):
  """Returns write(source, *names): files whose text is their own name."""

  def write_files(source, *names):
    suffix, write_one = FORMATS[source]
    for name in names:
      path = tmp_path / f'{name}{suffix}'
      path.parent.mkdir(parents=True, exist_ok=True)
      write_one(path, name)

  return write_files


@pytest.fixture(autouse=True)
def forget_notes():
  note_once.cache_clear()


def found(folder, source='text', **fields):
  """Returns {split: texts}."""
  return {s: texts(source=source, path=str(folder), split=s, **fields) for s in SPLITS}


@pytest.mark.parametrize('source', sorted(FORMATS))
@pytest.mark.parametrize(
  'names',
  [
    ('train', 'valid', 'testing'),
    ('wiki.train', 'wiki.eval', 'wiki.test'),
    ('training/a', 'val/b', 'test/c'),
    ('train/test_notes', 'dev/b', 'test/train_notes'),
  ],
)
def test_names_of_files_or_folders_give_the_splits(source, names, write, tmp_path):
  write(source, *names)
  assert list(found(tmp_path, source).values()) == [[name] for name in names]
  both = texts(source=source, path=str(tmp_path), split='validation+test')
  assert sorted(both) == sorted(names[1:])


@pytest.mark.parametrize('name', ['README', 'LICENSE', 'Copying.v2', 'changelog'])
def test_what_describes_a_corpus_is_not_pooled_with_it(name, write, tmp_path, capsys):
  write('text', 'train', 'valid', name)
  assert texts(source='text', path=str(tmp_path), split='train') == ['train']
  assert texts(source='text', path=str(tmp_path), split='validation') == ['valid']
  assert f'{name}.txt is not read, as named after no split' in capsys.readouterr().err


@pytest.mark.parametrize('source', sorted(FORMATS))
@pytest.mark.parametrize('held_out', ['valid', 'wiki.test'])
def test_held_out_files_are_never_pooled_in_silence(source, held_out, write, tmp_path):
  write(source, 'train', held_out, 'extra')
  with pytest.raises(DataError, match=f'{held_out}.* is .*extra.* is not. Set data.sp'):
    found(tmp_path, source)
  by_name = texts(source=source, path=str(tmp_path), split='train', split_by='names')
  assert by_name == ['train']
  pooled = found(tmp_path, source, split_by='content')
  whole = [''.join(parts) for parts in zip(*pooled.values(), strict=True)]
  assert sorted(whole) == sorted(['train', held_out, 'extra'])


def test_pooling_beside_a_train_file_is_said(write, tmp_path, capsys):
  write('text', 'train', 'notes')
  assert len(texts(source='text', path=str(tmp_path), split='train')) == 2
  said = capsys.readouterr().err
  assert 'train.txt is named after a split, notes.txt is not' in said
  assert '2 document(s), fewer than 100: each is cut by position' in said
  texts(source='text', path=str(tmp_path), split='validation')
  assert capsys.readouterr().err == ''  # once


def test_names_that_are_asked_for_have_to_be_there(write, tmp_path):
  write('text', 'a', 'b')
  with pytest.raises(DataError, match='data.split_by=names: no file of data.path'):
    found(tmp_path, split_by='names')


@pytest.mark.parametrize('hidden', ['.train.swp', '.git/a', 'b/._a', '.cache/x/y'])
def test_hidden_files_of_a_folder_are_not_read(hidden, write, tmp_path):
  write('text', 'a', hidden)
  assert texts(source='text', path=str(tmp_path), split='all') == ['a']


def test_what_cannot_be_read_is_never_left_out(write, tmp_path, monkeypatch, capsys):
  write('text', 'a', 'b/c')
  with pytest.raises(DataError, match='b cannot be read: Is a directory'):
    files.fingerprint([tmp_path / 'b'])
  scandir = os.scandir

  def refuse(path):
    if pathlib.Path(path).name == 'b':
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return scandir(path)

  (tmp_path / 'a.jsonl.zst').write_bytes(b'x')
  with pytest.raises(DataError, match='a.jsonl.zst: .zst files are not.*zstd -d'):
    texts(source='jsonl', path=str(tmp_path / '*.zst'), split='all')
  with pytest.raises(DataError, match='a.jsonl.zst: .zst files are not'):
    texts(source='jsonl', path=str(tmp_path), split='all')
  (tmp_path / 'a.txt.xz').write_bytes(b'x')
  assert texts(source='text', path=str(tmp_path), split='all') == ['a', 'b/c']
  assert 'a.txt.xz and the like are not read (1)' in capsys.readouterr().err
  monkeypatch.setattr(os, 'scandir', refuse)
  with pytest.raises(DataError, match='/b cannot be read: Permission denied'):
    texts(source='text', path=str(tmp_path), split='all')


@pytest.mark.parametrize('source', sorted(FORMATS))
def test_caches_of_other_split_rules_are_not_reused(source, write, tmp_path):
  write(source, 'both/train', 'both/valid')
  (tmp_path / 'alone').mkdir()
  (train,) = (tmp_path / 'both').glob('train*')
  shutil.copy(train, tmp_path / 'alone')
  tokens, fingerprints = {}, {}
  for folder in ('both', 'alone'):
    fields = {'source': source, 'path': str(tmp_path / folder), 'seq_len': 2}
    named = {f'data.{name}': value for name, value in fields.items()}
    data = load.resolve(base.get_config(), named).data
    dataset = pipeline.open_dataset(
      data, ByteTokenizer(), seed=0, cache_dir=tmp_path / 'cache'
    )
    tokens[folder] = bytes(dataset.stores[''].tokens[:-1].tolist()).decode()
    fingerprints[folder] = dataset.fingerprint
  assert tokens == {'both': 'both/train', 'alone': 'both/trai'}
  rules = [one['data.split_rule'] for one in fingerprints.values()]
  assert rules == ['names', 'position']
  whole = dataclasses.replace(data, split='all')
  assert 'split_rule' not in sources.make_source(whole).fingerprint
