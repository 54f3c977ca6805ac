"""Answers by a run that finds spans, and the pieces around it that take a real run."""

import pytest

import gpt_jax
from gpt_jax.core.errors import ConfigError
from gpt_jax.support import answer, answerers
from gpt_jax.support.span_answerer import RANK_WEIGHT
from tests.support import runs, shop

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def reader(tmp_path_factory):
  return runs.train_reader(tmp_path_factory.mktemp('reader'))


@pytest.fixture(scope='module')
def searcher(tmp_path_factory):
  return shop.make_searcher(tmp_path_factory.mktemp('shop'))


def test_answers_are_the_surest_spans_that_predict_finds(reader, searcher):
  made = answerers.open_answerer(reader)
  questions = [text for text, _, _ in shop.ASKED[:3]]
  items = [(text, searcher.search(text, 3)) for text in questions]
  run = gpt_jax.load(reader)
  for (text, hits), found in zip(items, made.answer_many(items), strict=True):
    readings = []
    for hit in hits:
      one = run.predict(dict(context=hit.passage.text, question=text))
      readings.append((one['text'], one['log_prob']))
    expected = answer.best(readings, hits, RANK_WEIGHT)
    assert (found.text, found.number) == (expected.text, expected.number)
    assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-3)
    assert found.text in hits[found.number].passage.text


def test_a_run_of_another_task_is_refused(task_runs):
  with pytest.raises(ConfigError, match="task.name='classification' answers no"):
    answerers.open_answerer(task_runs / 'a')
