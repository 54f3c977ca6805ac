"""Texts there and back, made once."""

import json

import pytest

from gpt_jax.augmentation.back_translation import back_translated
from gpt_jax.core.errors import DataError, StorageError


class Models:
  """Two models that turn texts around, and what they were asked."""

  def __init__(self):
    self.asked = []

  def forward(self, texts):
    self.asked += texts
    return [text[::-1] for text in texts]

  def back(self, texts):
    return ['' if text == 'ytpme' else text[::-1].upper() for text in texts]


def run(models, texts, cache, name='a b', **settings):
  return back_translated(
    texts, models.forward, models.back, cache, models=name, **settings
  )


def test_each_text_is_translated_once(tmp_path):
  models, cache = Models(), tmp_path / 'made' / 'cache.jsonl'
  texts = ['one', 'two', 'one', 'é\n中', 'empty']
  expected = ['ONE', 'TWO', 'ONE', 'É\n中', 'empty']
  assert run(models, texts, cache) == expected
  assert run(models, texts[::-1], cache) == expected[::-1]
  assert models.asked == ['one', 'two', 'é\n中', 'empty']
  first = json.loads(cache.read_text().splitlines()[0])
  assert first == {'models': 'a b', 'text': 'one', 'between': 'eno', 'back': 'ONE'}


def test_other_models_translate_anew(tmp_path):
  models, cache = Models(), tmp_path / 'cache.jsonl'
  run(models, ['one'], cache)
  run(models, ['one'], cache, name='c d')
  run(models, ['one'], cache)
  assert models.asked == ['one', 'one']


def test_an_interrupted_call_goes_on_where_it_ended(tmp_path):
  models, cache = Models(), tmp_path / 'cache.jsonl'
  texts = [f'text {i}' for i in range(10)]

  def breaks(given):
    if 'text 7' in given:
      raise KeyboardInterrupt
    return models.forward(given)

  with pytest.raises(KeyboardInterrupt):
    back_translated(texts, breaks, models.back, cache, models='a b', batch_size=3)
  content = cache.read_bytes()
  cache.write_bytes(content[:-5])  # as a full disk leaves it
  assert run(models, texts, cache, batch_size=3) == [text.upper() for text in texts]
  assert models.asked == texts[:6] + texts[5:]
  assert len(cache.read_text().splitlines()) == 10


def test_a_damaged_line_is_named(tmp_path):
  cache = tmp_path / 'cache.jsonl'
  cache.write_text('{"models": "a b", "text": "x"}\n')
  with pytest.raises(DataError, match=r"cache.jsonl, line 1: KeyError\('back'\)"):
    run(Models(), ['x'], cache)


def test_a_model_that_loses_a_text_is_refused(tmp_path):
  with pytest.raises(DataError, match='back: returned 1 translations of 2 texts'):
    back_translated(
      ['a', 'b'], list, lambda texts: texts[:1], tmp_path / 'c', models=''
    )


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(StorageError, match='cannot be written'):
    run(Models(), ['a'], tmp_path / 'file' / 'cache.jsonl')
