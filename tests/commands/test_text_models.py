"""Runs as functions of texts: a class has a probability, a name has a place."""

import types

import pytest

import gpt_jax
from gpt_jax.commands import text_models
from gpt_jax.core.errors import ConfigError
from gpt_jax.tasks.tagging import Tagging

TAGGING = object.__new__(Tagging)  # its values_of needs no labels


class FakeRun:
  """A run whose predictions are made by `answer(text)`."""

  def __init__(self, name, label_names, answer, values_of=None):
    self.config = types.SimpleNamespace(task=types.SimpleNamespace(name=name))
    task = types.SimpleNamespace(label_names=label_names, values_of=values_of)
    self.predictor = types.SimpleNamespace(task=task)
    self._answer = answer

  def predict(self, examples):
    if isinstance(examples, str):
      return self._answer(examples)
    return [self._answer(one) for one in examples]


@pytest.fixture
def load(monkeypatch):
  def use(run):
    monkeypatch.setattr(gpt_jax, 'load', lambda workdir: run)

  return use


def tag_names(text):
  words = TAGGING.values_of(text)['words']
  found = []
  for i, word in enumerate(words):
    if word in ('Anna', '李'):
      end = i + 2 if word == '李' else i + 1
      found.append(dict(type='PER', start=i, end=end, text=word))
    if word == 'Bonn':
      found.append(dict(type='LOC', start=i, end=i + 1, text=word))
  return dict(tags=[], entities=found)


def test_a_classifier_gives_the_probability_of_a_class(load):
  def answer(text):
    return None if not text else {'probabilities': {'good': 0.25, 'toxic': 0.75}}

  load(FakeRun('classification', ('good', 'toxic'), answer))
  classify = text_models.open_classifier('runs/x', 'toxic')
  assert classify(['a', '']) == [0.75, 0.0]
  with pytest.raises(ConfigError, match="did you mean 'toxic'"):
    text_models.open_classifier('runs/x', 'toxik')


def test_names_have_their_places_in_the_text(load):
  load(FakeRun('ner', ('O', 'B-PER', 'I-PER', 'B-LOC'), tag_names, TAGGING.values_of))
  find = text_models.open_names('runs/x', ('PER', 'NAME'))
  text = 'In Bonn, Anna met Anna-Lee and Anna.'
  texts = [text, '  ', '昨天 李 雷和我']
  found = [
    [text[start:end] for start, end in spans]
    for text, spans in zip(texts, find(texts), strict=True)
  ]
  assert found == [['Anna', 'Anna'], [], ['李 雷']]
  with pytest.raises(ConfigError, match='tags LOC, PER, none of NAME'):
    text_models.open_names('runs/x', ('NAME',))


def test_a_run_of_another_task_is_refused(load):
  load(FakeRun('', (), None))
  with pytest.raises(ConfigError, match='expected a tagger of words'):
    text_models.open_names('runs/x', ('PER',))
  with pytest.raises(ConfigError, match='expected a classifier of texts'):
    text_models.open_classifier('runs/x', 'toxic')
