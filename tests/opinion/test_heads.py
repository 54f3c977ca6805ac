"""Topic and sentiment by fine-tuned runs, and their error rates on held-out texts."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.opinion import heads
from gpt_jax.workdir import files
from gpt_jax.workdir.paths import Workdir
from tests import task_runs as runs

BAD = runs.LABELS[0]


def test_opinions_are_what_the_runs_predict(task_runs):
  made = heads.Heads(task_runs / 'a', task_runs / 'b', BAD)
  texts = ['film 1: poor dull & slow', 'film 2: warm bright fine', 'film 3: usual']
  found = made.judge(texts)
  said, about = made.sentiment.predict(texts), made.topic.predict(texts)
  assert [one.is_negative for one in found] == [one['label'] == BAD for one in said]
  assert [one.topic for one in found] == [one['label'] for one in about]
  assert found[0].probability == said[0]['probabilities'][BAD]
  assert made.topics == made.topic.predictor.task.label_names
  alone = heads.Heads(task_runs / 'a', None, BAD)
  assert {one.topic for one in alone.judge(texts)} == {'all texts'}


def test_error_rates_are_those_of_the_test_set(task_runs):
  found = heads.error_rates(task_runs / 'a', BAD)
  counts = files.read_json(Workdir(task_runs / 'a').scores)['sets']['test']
  own = counts['names'].index(BAD)
  assert found.negatives == sum(counts['confusion'][own])
  assert found.negatives + found.others == 60
  assert heads.error_rates(task_runs / 'none', BAD) is None


def test_the_negative_class_has_to_be_named(task_runs):
  with pytest.raises(ConfigError, match='its classes are .*good.*--negative=NAME'):
    heads.Heads(task_runs / 'a')
  with pytest.raises(ConfigError, match="no class 'awful'"):
    heads.Heads(task_runs / 'a', None, 'awful')


def test_a_run_without_classes_is_refused(task_runs, plain_run):
  with pytest.raises(ConfigError, match="--sentiment=.*task.name=''"):
    heads.Heads(plain_run)
  with pytest.raises(ConfigError, match='--topic=.*classification'):
    heads.Heads(task_runs / 'a', plain_run, BAD)
