"""`gpt-jax eval` of a task: tables by class, baselines, ensembles."""

import json
import shutil

import pytest

from gpt_jax import cli
from tests import task_runs as runs

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


@pytest.fixture
def run(task_runs, tmp_path):
  return shutil.copytree(task_runs / 'a', tmp_path / 'a')


def table(out, title):
  """Returns the rows of a printed table as lists of words."""
  lines = out[out.index(title) :].splitlines()
  rows = [line.split() for line in lines[1:]]
  end = next((i for i, row in enumerate(rows) if i > 3 and not row), len(rows))
  return [row for row in rows[:end] if row]


def test_classes_and_baselines_have_tables(run, capsys):
  (run / 'scores.json').unlink()
  assert cli.main(['eval', f'--workdir={run}', '--baselines', '--json']) == 0
  out = capsys.readouterr().out
  head, _, *rows = table(out, 'test: per class')
  assert head == ['name', 'precision', 'recall', 'f1', 'support']
  saved = json.loads((run / 'scores.json').read_text())['sets']['test']['per_class']
  assert [row[0] for row in rows[:3]] == list(runs.LABELS)
  for printed, one in zip(rows, saved, strict=False):
    assert printed[1:] == [f'{one[k]:.4f}' for k in head[1:4]] + [str(one['support'])]
  ranked = table(out, 'test: the model and baselines')
  assert ranked[0][:2] == ['predictor', 'accuracy']
  assert {'this model', 'majority class'} <= {' '.join(row[:2]) for row in ranked}
  kept = json.loads((run / 'baselines.json').read_text())
  assert kept.keys() == {'validation', 'test'}


def test_new_scores_drop_the_baselines_of_old_ones(run, capsys):
  (run / 'baselines.json').write_text('{}')
  assert cli.main(['eval', f'--workdir={run}']) == 0
  assert not (run / 'baselines.json').exists()
  assert 'the model and baselines' not in capsys.readouterr().out


def test_an_ensemble_is_printed_and_saved(run, task_runs, capsys):
  words = ['eval', f'--workdir={run}', f'--ensemble={task_runs / "b"}', '--json']
  assert cli.main(words) == 0
  out = capsys.readouterr().out
  saved = json.loads((run / 'eval_ensemble.json').read_text())
  assert json.loads(out.splitlines()[-1]) == saved
  assert [one['workdir'] for one in saved['members']] == [
    str(run),
    str(task_runs / 'b'),
  ]
  last = saved['sets']['test'][-1]
  assert last['predictor'] == 'ensemble' and f'{last["accuracy"]:.4f}' in out
  assert 'test: mean of probabilities by row' in out


def test_an_ensemble_of_other_runs_is_refused(run, plain_run, capsys):
  assert cli.main(['eval', f'--workdir={run}', f'--ensemble={plain_run}']) == 2
  assert 'task.name differs' in capsys.readouterr().err
  assert not (run / 'eval_ensemble.json').exists()


@pytest.mark.parametrize('flag', ['--step=40', '--baselines', '--baseline_tokens=9'])
def test_flags_that_an_ensemble_cannot_heed_are_refused(flag, capsys):
  assert cli.main(['eval', '--workdir=a', '--ensemble=b', flag]) == 2
  assert f'{flag.partition("=")[0]}: does not go with' in capsys.readouterr().err
