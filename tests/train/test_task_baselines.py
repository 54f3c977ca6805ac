"""Baselines of a task: scored on the model's examples, ranked, and kept."""

import pytest

from gpt_jax.evaluation.class_scores import class_scores
from gpt_jax.evaluation.scores import Scores
from gpt_jax.program import setup, task_data
from gpt_jax.tasks import make_task
from gpt_jax.train import score_run, task_baselines
from gpt_jax.workdir.paths import Workdir

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


@pytest.fixture(scope='module')
def config(task_runs):
  return setup.read_config(Workdir(task_runs / 'a'))


def test_baselines_are_scored_on_the_examples_of_the_model(task_runs, config):
  report = score_run.score_run(task_runs / 'a', with_baselines=True)
  assert report.task_baselines.keys() == {'validation', 'test'}
  found = report.task_baselines['test']
  assert found.keys() == {'majority class', 'TF-IDF + logistic regression'}
  train = [one.values['label'] for one in task_data.records_of(config, 'train')]
  gold = [one.values['label'] for one in task_data.records_of(config, 'test')]
  likeliest = max(set(train), key=train.count)
  wanted = class_scores(gold, [likeliest] * len(gold), config.task.label_names)
  assert found['majority class'].metrics['accuracy'] == wanted.metrics['accuracy']
  assert (
    sum(row['support'] for row in report.results['test'].scores.details['per_class'])
    == 60
  )


def test_the_best_comes_first_by_the_metric_of_the_task(config):
  task = make_task(config)
  others = {
    'low': {'accuracy': 0.1},
    'high': {'accuracy': 0.9, 'macro_f1': 0.5},
    'none': {},
  }
  columns, rows = task_baselines.table(task, {'accuracy': 0.5, 'loss': 1.0}, others)
  assert columns == ('predictor', 'accuracy', 'macro_f1')
  assert rows == [
    ('high', 0.9, 0.5), (task_baselines.MODEL, 0.5, None), ('low', 0.1, None),
    ('none', None, None),
  ]  # fmt: skip
  task.higher_is_better = False
  _, rows = task_baselines.table(task, {'accuracy': 0.5}, others)
  assert [name for name, *_ in rows] == ['low', task_baselines.MODEL, 'high', 'none']


def test_examples_without_answers_have_no_baselines(config):
  task = make_task(config)
  train = task_data.records_of(config, 'train')
  new = [type(train[0])({'text': 'a film'}, 'new.txt, line 1')]
  assert task_baselines.score_baselines(task, train, new) == {}
  assert task_baselines.score_baselines(task, train, []) == {}


def test_baselines_are_kept_in_the_workdir(tmp_path):
  workdir = Workdir(tmp_path)
  assert task_baselines.read(workdir) == {}
  scores = Scores({'f1': 0.5, 'auc': float('nan')})
  task_baselines.write(workdir, {'test': {'majority class': scores}})
  expected = {'f1': 0.5, 'auc': None}
  assert task_baselines.read(workdir) == {'test': {'majority class': expected}}
