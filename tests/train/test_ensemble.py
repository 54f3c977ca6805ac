"""Ensembles: means of probabilities, one table, refusals that name the field."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation.class_scores import class_scores
from gpt_jax.train import ensemble, score_run
from gpt_jax.workdir.paths import Workdir
from tests import task_runs as runs

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


def lines(workdir, name='test'):
  text = (Workdir(workdir).predictions / f'{name}.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def mean_by_hand(folder, names):
  """Returns the metrics of the mean of the probabilities in the prediction files."""
  each = [lines(folder / name) for name in names]
  probs_MNC = np.array(
    [
      [
        [row['prediction']['probabilities'][label] for label in runs.LABELS]
        for row in m
      ]
      for m in each
    ]
  )
  mean_NC = probs_MNC.mean(axis=0)
  predicted = [runs.LABELS[i] for i in mean_NC.argmax(-1)]
  gold = [row['answer'] for row in each[0]]
  return class_scores(gold, predicted, runs.LABELS, mean_NC).metrics


@pytest.mark.parametrize(
  'names', [('a', 'b'), pytest.param(('a', 'b', 'c'), marks=pytest.mark.slow)]
)
def test_an_ensemble_is_the_mean_of_probabilities(task_runs, names):
  found = ensemble.score_ensemble([str(task_runs / name) for name in names])
  assert found.how == (ensemble.BY_EXAMPLE if 'c' in names else ensemble.BY_ROW)
  *members, (who, metrics) = found.sets['test']
  assert who == ensemble.ENSEMBLE
  assert metrics == pytest.approx(mean_by_hand(task_runs, names), rel=1e-4)
  for name, (who, metrics) in zip(names, members, strict=True):
    assert who == str(task_runs / name)
    saved = json.loads(Workdir(task_runs / name).eval.read_text())['test']
    assert metrics == pytest.approx({key: saved[key] for key in metrics})
  columns, rows = found.table('validation')
  assert columns[:2] == ('predictor', 'accuracy') and len(rows) == len(names) + 1


def test_means_of_logits_and_of_log_probabilities_agree():
  rng = np.random.default_rng(0)
  logits_MBC = rng.normal(size=(3, 4, 5))
  probs = np.exp(logits_MBC) / np.exp(logits_MBC).sum(-1, keepdims=True)
  wanted = probs.mean(axis=0)
  for objective, name in (('class_labels', 'outputs'), ('token_labels', 'outputs')):
    found = ensemble.MEANS[objective][name](list(logits_MBC))
    np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-12)
  for name in ('starts', 'ends'):
    found = ensemble.MEANS['span_labels'][name](list(np.log(probs)))
    np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-12)
  found = ensemble.MEANS['regression']['outputs'](list(logits_MBC))
  np.testing.assert_allclose(found, logits_MBC.mean(axis=0))


def changed(task_runs, tmp_path, **fields):
  """Returns the workdir of a copy of run b whose config has other fields."""
  other = tmp_path / 'other'
  shutil.copytree(task_runs / 'b', other)
  config = json.loads((other / 'config.json').read_text())
  for field, value in fields.items():
    section, name = field.split('__')
    config[section][name] = value
  (other / 'config.json').write_text(json.dumps(config))
  return str(other)


def files_of(task_runs):
  return json.loads((task_runs / 'a' / 'config.json').read_text())['task']['files']


def test_other_labels_are_refused(task_runs, tmp_path):
  other = changed(task_runs, tmp_path, task__label_names=['x', 'good', 'so-so'])
  with pytest.raises(ConfigError, match='task.label_names differs'):
    ensemble.score_ensemble([str(task_runs / 'a'), other])


def test_other_test_data_are_refused(task_runs, tmp_path):
  runs.write_examples(tmp_path / 'test.jsonl', 60, seed=9)
  files = files_of(task_runs) | {'test': str(tmp_path / 'test.jsonl')}
  other = changed(task_runs, tmp_path, task__files=files)
  with pytest.raises(ConfigError, match="task.files differs: set 'test'"):
    ensemble.score_ensemble([str(task_runs / 'a'), other])


def test_other_sets_are_refused(task_runs, tmp_path):
  files = {k: v for k, v in files_of(task_runs).items() if k != 'test'}
  other = changed(task_runs, tmp_path, task__files=files)
  with pytest.raises(ConfigError, match='eval.sets differs: validation, test'):
    ensemble.score_ensemble([str(task_runs / 'a'), other])


def test_one_run_twice_and_no_run_are_refused(task_runs, tmp_path, plain_run):
  a = str(task_runs / 'a')
  with pytest.raises(ConfigError, match='at least one other run'):
    ensemble.score_ensemble([a, a])
  with pytest.raises(ConfigError, match='holds no run'):
    ensemble.score_ensemble([a, str(tmp_path)])
  with pytest.raises(ConfigError, match="task.name differs: 'classification'"):
    ensemble.score_ensemble([a, str(plain_run)])
  with pytest.raises(ConfigError, match='without a task'):
    ensemble.score_ensemble([str(plain_run), a])


def test_other_rows_need_probabilities(task_runs):
  members = [ensemble._open(str(task_runs / name), {}) for name in 'ac']
  for member in members:
    ensemble._predict(member, 8)
    member.found = {
      name: (records, [{'label': one['label']} for one in predictions])
      for name, (records, predictions) in member.found.items()
    }
  with pytest.raises(ConfigError, match='carry no probabilities'):
    ensemble._have_same_rows(members)


def test_an_objective_without_probabilities_is_refused(task_runs):
  member = ensemble._open(str(task_runs / 'a'), {})
  objective = dataclasses.replace(member.config.objective, name='reward')
  member.config = dataclasses.replace(member.config, objective=objective)
  member.batches = {'test': [{'rewards': np.zeros(2)}]}
  with pytest.raises(ConfigError, match="objective.name='reward'"):
    ensemble._mean_of_rows([member, member], 'test')


def test_a_run_scores_alone_as_in_the_table(task_runs):
  alone = score_run.score_run(task_runs / 'a')
  saved = json.loads(Workdir(task_runs / 'a').eval.read_text())
  assert alone.sets['test'] == pytest.approx(saved['test'])
