"""A sweep on a cluster: each missing point is a task, a needed one comes before."""

import re

import pytest

from gpt_jax import cli
from tests.execution.test_runner import finish
from tests.sweeps import studies

ROWS = dict(
  rows="{'a': {}, 'b': {'init_from': FromRow('a')}, 'c': {'model.d_model': 16}}",
  seeds='(0, 1)',
)


@pytest.fixture
def sweep(tmp_path):
  path = studies.write(tmp_path, **ROWS)
  flags = [f'--workdir={tmp_path / "runs"}', '--where=slurm', '--dry_run']
  return lambda *more: cli.main(['sweep', str(path), *flags, *more])


def tasks_of(text):
  """Returns the points of each array that a dry run shows, and its --array."""
  arrays = re.findall(r'--array=(\S+)', text)
  points = [
    re.findall(r'--only=(\S+)', one) for one in re.findall(r'tasks=\(([^)]*)', text)
  ]
  return dict(zip(arrays, points, strict=True))


def test_points_are_elements_of_an_array(sweep, tmp_path, capsys):
  assert sweep('--at_once=2') == 0
  shown = capsys.readouterr().out
  assert tasks_of(shown) == {
    '0-3%2': ['a,seed=0', 'a,seed=1', 'c,seed=0', 'c,seed=1'],
    '0-1%2': ['b,seed=0', 'b,seed=1'],
  }
  assert '--dependency=afterany:$job1' in shown
  assert f'--workdir={tmp_path}/runs --join "$@"' in shown


def test_points_that_are_done_are_left_out(sweep, tmp_path, capsys):
  from gpt_jax.sweeps import points

  study = points.open_study(tmp_path / 'study.py', workdir=tmp_path / 'runs')
  for point in study.points:
    if point.row == 'a':
      finish(point.config, point.workdir)
  assert sweep('--only=b') == 0
  assert tasks_of(capsys.readouterr().out) == {'0-1': ['b,seed=0', 'b,seed=1']}


def test_flags_of_processes_here_are_refused(sweep, capsys):
  assert sweep('--jobs=2', '--json') == 2
  assert '--jobs, --json: for a sweep in processes' in capsys.readouterr().err
