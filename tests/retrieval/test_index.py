"""An index on disk: incremental, whole or absent, of one encoder."""

import json
import sys

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError, StorageError
from gpt_jax.retrieval import index
from gpt_jax.retrieval.index import Index, Settings
from tests.retrieval import tiny_encoder

SETTINGS = Settings(max_words=20, overlap_words=0, encoder='runs/encoder')


@pytest.fixture
def source(tmp_path):
  folder = tmp_path / 'docs'
  folder.mkdir()
  for name in 'abc':
    (folder / f'{name}.md').write_text(f'# {name}\n\nText of {name} about lamps.')
  return folder


def update(tmp_path, source, embed, settings=SETTINGS):
  return index.update(tmp_path / 'index', source, settings, embed)


def test_an_update_reads_what_has_changed(tmp_path, source):
  embed = tiny_encoder.make()
  change = update(tmp_path, source, embed)
  assert (change.added, change.num_passages) == (3, 3)
  (source / 'a.md').write_text('# a\n\nOther text.')
  (source / 'b.md').unlink()
  (source / 'd.txt').write_text('new')
  before = embed.calls
  change = update(tmp_path, source, embed)
  counts = change.added, change.changed, change.removed, change.unchanged
  assert counts == (1, 1, 1, 1)
  assert embed.calls == before + 4  # a and d, and twice the probe
  found = Index(tmp_path / 'index')
  fresh = tiny_encoder.make()([one.to_embed for one in found.passages])
  np.testing.assert_array_equal(found.vectors_ND, fresh)
  assert [one.file for one in found.passages] == ['a.md', 'c.md', 'd.txt']
  assert len(list((tmp_path / 'index').glob('generation-*'))) == 1


def test_nothing_is_written_where_nothing_has_changed(tmp_path, source):
  update(tmp_path, source, tiny_encoder.make())
  before = (tmp_path / 'index' / 'index.json').stat().st_mtime_ns
  change = update(tmp_path, source, tiny_encoder.make())
  assert change.unchanged == 3
  assert (tmp_path / 'index' / 'index.json').stat().st_mtime_ns == before


def test_an_index_that_is_no_other_is_the_same(tmp_path, source):
  embed = tiny_encoder.make()
  update(tmp_path, source, embed)
  (source / 'a.md').write_text('# a\n\nOther text.')
  update(tmp_path, source, embed)
  index.update(tmp_path / 'fresh', source, SETTINGS, embed)
  one, other = Index(tmp_path / 'index'), Index(tmp_path / 'fresh')
  assert one.passages == other.passages and one.files == other.files
  for query in (['lamp'], ['other']):
    np.testing.assert_array_equal(one.words.scores(query), other.words.scores(query))


def test_a_stopped_update_leaves_the_old_index(tmp_path, source, monkeypatch):
  embed = tiny_encoder.make()
  update(tmp_path, source, embed)
  (source / 'a.md').write_text('# a\n\nOther text.')

  def stop(path, value):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(index.files, 'write_json', stop)
    update(tmp_path, source, embed)
  assert Index(tmp_path / 'index').passages[0].text == 'Text of a about lamps.'
  assert update(tmp_path, source, embed).changed == 1
  assert Index(tmp_path / 'index').passages[0].text == 'Other text.'


def test_other_sizes_cut_all_files_again(tmp_path, source):
  (source / 'a.md').write_text('One. ' * 30)
  update(tmp_path, source, tiny_encoder.make())
  change = update(
    tmp_path, source, tiny_encoder.make(), Settings(10, 0, 'runs/encoder')
  )
  assert change.unchanged == 3 and change.num_passages == 5


@pytest.mark.parametrize(
  'settings, embed, said',
  [
    (SETTINGS, tiny_encoder.make(seed=1), 'was made with another encoder'),
    (SETTINGS, tiny_encoder.make(size=8), 'was made with another encoder'),
    (Settings(20, 0), None, 'was made with --encoder=runs/encoder'),
  ],
)
def test_another_encoder_is_refused(tmp_path, source, settings, embed, said):
  update(tmp_path, source, tiny_encoder.make())
  with pytest.raises(ConfigError, match=said):
    update(tmp_path, source, embed, settings)


def test_an_encoder_for_an_index_without_is_refused(tmp_path, source):
  update(tmp_path, source, None, Settings(20, 0))
  with pytest.raises(ConfigError, match='was made without an encoder'):
    update(tmp_path, source, tiny_encoder.make())


def test_two_writers_are_one_too_many(tmp_path, source):
  embed = tiny_encoder.make()

  def embed_and_try(texts):
    with pytest.raises(StorageError, match='another process'):
      update(tmp_path, source, embed)
    return embed(texts)

  update(tmp_path, source, embed_and_try)


def test_what_is_no_index_is_said(tmp_path, source):
  with pytest.raises(DataError, match='gpt-jax support index'):
    Index(tmp_path)
  update(tmp_path, source, None, Settings(20, 0))
  record = tmp_path / 'index' / 'index.json'
  whole = json.loads(record.read_text())
  record.write_text(json.dumps(whole | {'format': 99}))
  with pytest.raises(DataError, match='another version'):
    Index(tmp_path / 'index')
  record.write_text(json.dumps(whole))
  next((tmp_path / 'index').glob('*/passages.jsonl')).unlink()
  with pytest.raises(DataError, match='is damaged'):
    Index(tmp_path / 'index')


def test_documents_without_text_are_refused(tmp_path):
  (tmp_path / 'a.md').write_text('# heading\n')
  with pytest.raises(DataError, match='have no text'):
    update(tmp_path, tmp_path / 'a.md', None, Settings(20, 0))


def test_a_missing_package_is_said_before_reading(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'bm25s', None)
  with pytest.raises(ConfigError, match='bm25s'):
    update(tmp_path, tmp_path / 'gone', None)
