"""`gpt-jax report`: table and verdicts, one JSON object, exit codes."""

import json
import random
import shutil
import subprocess
import sys
import time

import pytest

from gpt_jax import cli
from gpt_jax.analysis import verdict_log
from gpt_jax.sweeps import points
from tests.sweeps import fake_study
from tests.tiny_runs import ROOT

FILE = '''"""Is ours lower?"""
from gpt_jax.sweeps import Claim, Outcome
from tests.sweeps import fake_study

LEVEL = 2.0

def rule(results):
  mean = results.where(row='ours').mean('validation/loss')
  return Outcome(mean < LEVEL, {'mean': mean})

CLAIM = Claim('low', 'Low.', 'nowhere', 'ordering', 'C', 'mean', rule=rule)

def get_experiment():
  return fake_study.experiment(claims=(CLAIM,))
'''


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'lower.py'
  path.write_text(FILE)
  return path


def report(file, *flags):
  return cli.main(['report', str(file), f'--workdir={file.parent}/runs', *flags])


def finish(file, *rows):
  for point in points.open_study(file, 'quick', file.parent / 'runs').points:
    if point.row in rows:
      fake_study.finish(point, {'validation': {'loss': 1.0 + point.axes['seed']}})


def test_a_report_grows_with_the_points_and_keeps_verdicts(file, capsys):
  assert report(file) == 0
  assert 'not enough data: low' in capsys.readouterr().out
  finish(file, 'ours')
  assert report(file, '--json') == 0
  out = capsys.readouterr().out
  assert 'not reproduced: low' in out
  found = json.loads(out.splitlines()[-1])
  assert found['verdicts'][0]['numbers'] == {'mean': 2.0}
  assert len(found['missing']) == 3

  file.write_text(FILE.replace('LEVEL = 2.0', 'LEVEL = 2.5'))
  assert report(file) == 2
  assert "claim 'low': its rule has changed" in capsys.readouterr().err
  file.write_text(
    FILE.replace('LEVEL = 2.0', 'LEVEL = 2.5').replace('rule=rule', 'rule, 2')
  )
  assert report(file, f'--out={file.parent}/out') == 0
  out = capsys.readouterr().out
  assert 'reproduced: low' in out
  assert 'earlier: low, version 1: not reproduced' in out
  assert (file.parent / 'out' / 'table.tex').exists()


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--size=quik'], 2, "did you mean 'quick'?"),
    (['--config.seed=3'], 2, '--config.seed'),
    (['--out=/proc/no'], 5, 'cannot write in /proc/no'),
  ],
)
def test_bad_input_has_its_exit_code(file, flags, code, expected, capsys):
  assert report(file, *flags) == code
  assert expected in capsys.readouterr().err


@pytest.mark.slow
def test_reports_that_are_killed_leave_a_log_that_counts(file):
  finish(file, 'ours')
  command = [sys.executable, '-m', 'gpt_jax', 'report', str(file)]
  command.append(f'--workdir={file.parent}/runs')
  log = file.parent / 'runs' / 'lower' / 'quick' / verdict_log.FILE
  rng = random.Random(0)
  for wait in (rng.uniform(0.5, 6.0) for _ in range(3)):
    both = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    time.sleep(wait)
    both[0].kill()
    assert both[1].wait(120) == 0
    both[0].wait()
  (entry,) = verdict_log.read(log.parent)
  assert entry['verdict'] == 'not reproduced'
  assert log.read_text().count('\n') == 1


@pytest.mark.extra
def test_a_fine_tuned_run_is_reported_by_its_workdir(task_runs, tmp_path, capsys):
  pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
  run = shutil.copytree(task_runs / 'a', tmp_path / 'run')
  assert cli.main(['report', f'--workdir={run}', '--json']) == 0
  out = capsys.readouterr().out
  assert json.loads(out.splitlines()[-1])['report'] == str(run / 'report.html')
  assert cli.main(['report', f'--workdir={run}', f'--out={tmp_path / "out"}']) == 0
  assert 'majority class' in (tmp_path / 'out' / 'report.html').read_text()


def test_a_report_needs_a_file_or_a_run_of_a_task(plain_run, capsys):
  for words, expected in (
    ([], 'name an experiment file, or the --workdir'),
    ([f'--workdir={plain_run}'], 'a run without a task'),
    ([f'--workdir={plain_run}', '--config.seed=1'], '--config.seed'),
  ):
    assert cli.main(['report', *words]) == 2
    assert expected in capsys.readouterr().err
