"""The flags of `gpt-jax sweep --search`."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.search import trial_run
from tests.search.search_experiment import bowl, write


def sweep(tmp_path, *flags):
  path = write(tmp_path)
  return cli.main(['sweep', str(path), f'--workdir={tmp_path}/runs', *flags])


@pytest.mark.parametrize(
  'flags, told',
  [
    (['--trials=3'], '--trials=3: of a search; add --search=tpe'),
    (['--search=tpe', '--trials=0'], '--trials=0: expected at least 1'),
    (['--search=tpe', '--rungs=-1'], '--rungs=-1: expected 0'),
    (['--search=tpe', '--jobs=2'], 'start this command several times'),
    (['--search=tpe', '--dry_run'], '--dry_run: of a sweep over points'),
    (['--search=tpe', '--only=base', '--only=wide'], 'a search is over one row'),
    (['--search=tpe', '--study=a/b'], '--study=a/b: expected letters'),
  ],
)
def test_flags_that_do_not_go_together_are_told(tmp_path, capsys, flags, told):
  assert sweep(tmp_path, *flags) == 2
  assert told in capsys.readouterr().err


def test_a_search_prints_its_table_files_and_json(tmp_path, capsys, monkeypatch):
  pytest.importorskip('optuna', reason='needs gpt_jax[sweep]')
  monkeypatch.setattr(trial_run, 'run_trial', bowl)
  flags = ['--search=random', '--trials=3', '--only=wide', '--study=mine', '--rungs=0']
  assert sweep(tmp_path, *flags, '--json') == 0
  out = capsys.readouterr().out
  found = json.loads(out.splitlines()[-1])
  assert found['study'] == 'rates/quick/mine'
  assert [one['state'] for one in found['trials']] == ['complete'] * 3
  assert 'best.py' in out and 'learning_rate' in out
