"""`gpt-jax diff`: tables that say what differs, one JSON object, exit codes."""

import json

import pytest

from gpt_jax import cli
from tests.train.test_run_diff import start, write_run


@pytest.fixture
def runs(tmp_path):
  """Returns two runs that differ in a rate, a package and the loss of step 2."""
  patch = 'diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\n'
  changed = dict(commit='c' * 40, dirty=True, patch=patch, untracked=['new.py'])
  later = start(step=1, versions={'jax': '2'}, git=changed)
  first = write_run(tmp_path / 'one', [3.0, 2.0])
  rate = {'optimizer.learning_rate': 0.5}
  return first, write_run(tmp_path / 'two', [3.0, 2.5], [start(), later], **rate)


def test_what_differs_is_shown_and_what_is_the_same_is_said(runs, capsys):
  assert cli.main(['diff', *map(str, runs), '--patch', '--json']) == 0
  *shown, last = capsys.readouterr().out.strip().splitlines()
  lines = [' '.join(line.split()) for line in shown]
  for line in (
    'config: 1 differs',
    'optimizer.learning_rate 0.01 0.5',
    'versions: 1 differs',
    'mesh: the same',
    'data: the same',
    'events: none in either',
    'the first step at which they part: 2',
    'train/loss 2 2.5 2.0e-01',
    'losses are further apart than 1e-05 from that step on',
    'two: commit cccccccccc; changed since: a.py +1 -1; not in git: new.py',
    '+y',
  ):
    assert line in lines, line
  assert any(line.startswith('two 1 code aaaaaaaaaa cccccccccc') for line in lines)
  found = json.loads(last)
  assert found['config'] == [['optimizer.learning_rate', 0.01, 0.5]]
  assert found['metrics']['parts_at'][0]['step'] == 2
  assert found['final']['train/loss'] == [2.0, 2.5]


def test_equal_runs_are_said_to_be_the_same(runs, capsys):
  assert cli.main(['diff', str(runs[0]), str(runs[0])]) == 0
  out = capsys.readouterr().out
  for section in ('config', 'versions', 'machine', 'mesh', 'data'):
    assert f'{section}: the same' in out
  assert 'code: the same' in out and 'the same in every bit' in out


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['/nowhere/at/all'], 4, 'no run there that can be read'),
    (['--tolerance=2'], 2, '--tolerance=2.0: expected a share'),
    (['--config.seed=1'], 2, '--config.seed'),
  ],
)
def test_bad_input_has_its_exit_code(flags, code, expected, runs, capsys):
  second = [] if flags[0].startswith('/') else [str(runs[1])]
  assert cli.main(['diff', str(runs[0]), *second, *flags]) == code
  assert expected in capsys.readouterr().err
