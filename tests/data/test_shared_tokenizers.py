"""Runs of one sweep learn a tokenizer once, and never take another one's."""

import dataclasses
import threading

import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.data import pipeline, tokenizers

WORDS = 'the cat sat on the mat and the rat ate the hat that the cat sat on. ' * 40


@pytest.fixture
def resolved(tmp_path):
  (tmp_path / 'text.txt').write_text(WORDS)
  return load.resolve(
    base.get_config(),
    {
      'data.source': 'text',
      'data.path': str(tmp_path / 'text.txt'),
      'tokenizer.name': 'bpe',
      'tokenizer.vocab_size': 280,
    },
  )


@pytest.fixture
def learned(monkeypatch):
  """Returns the list of tokenizer configs that were learned, one a learning."""
  calls, bpe = [], tokenizers.TOKENIZERS['bpe']

  def make(cfg, texts):
    calls.append(cfg)
    return bpe(cfg, texts)

  monkeypatch.setitem(tokenizers.TOKENIZERS, 'bpe', make)
  return calls


def open_it(resolved, folder, name, **fields):
  cfg = dataclasses.replace(resolved.tokenizer, **fields)
  return pipeline.open_tokenizer(
    cfg, resolved.data, workdir=folder / name, cache_dir=str(folder / 'cache')
  )


def test_a_second_run_takes_what_the_first_has_learned(resolved, learned, tmp_path):
  alone = pipeline.open_tokenizer(resolved.tokenizer, resolved.data)
  first, second = (open_it(resolved, tmp_path, name) for name in 'ab')
  assert len(learned) == 2  # alone, and the first
  assert alone.fingerprint == first.fingerprint == second.fingerprint
  kept = [(tmp_path / n / 'tokenizer' / 'tokenizer.json').read_bytes() for n in 'ab']
  assert kept[0] == kept[1]
  pipeline.open_tokenizer(resolved.tokenizer, resolved.data, workdir=tmp_path / 'c')
  assert len(learned) == 3  # without a shared folder


def test_other_texts_or_sizes_are_learned_apart(resolved, learned, tmp_path):
  open_it(resolved, tmp_path, 'a')
  assert open_it(resolved, tmp_path, 'b', vocab_size=270).vocab_size == 270
  (tmp_path / 'text.txt').write_text(WORDS.replace('cat', 'dog'))
  other = open_it(resolved, tmp_path, 'c')
  assert len(learned) == 3 and len(list((tmp_path / 'cache').iterdir())) == 3
  assert b' dog' in other.token_bytes


def test_runs_that_begin_together_share_one(resolved, tmp_path):
  found, barrier = [], threading.Barrier(4)

  def run(name):
    barrier.wait(timeout=20)
    found.append(open_it(resolved, tmp_path, name).fingerprint)

  threads = [threading.Thread(target=run, args=(name,)) for name in 'abcd']
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 4 and len(set(found)) == 1
  assert len(list((tmp_path / 'cache').iterdir())) == 1  # nothing half-made is left


def test_a_changed_shared_tokenizer_is_not_taken(resolved, tmp_path):
  open_it(resolved, tmp_path, 'a')
  (model,) = (tmp_path / 'cache').glob('*/tokenizer.json')
  model.write_text(model.read_text().replace('"the"', '"teh"'))
  with pytest.raises(DataError, match='tokenizer-.*delete it, and the next start|read'):
    open_it(resolved, tmp_path, 'b')
  assert not (tmp_path / 'b' / 'tokenizer').exists()


def test_a_folder_that_cannot_be_written_is_named(resolved, tmp_path):
  (tmp_path / 'cache').write_text('a file')
  with pytest.raises(StorageError, match='data.cache_dir: cannot write'):
    open_it(resolved, tmp_path, 'a')
