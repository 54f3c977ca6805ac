"""gpt-jax eval --tasks asks questions of local sets and says what is wrong."""

import json
import sys

import pytest

from gpt_jax import cli
from tests import tiny_runs


@pytest.fixture
def data_dir(tmp_path):
  (tmp_path / 'sst2').mkdir()
  (tmp_path / 'sst2' / 'dev.tsv').write_text('a fine film\t1\na bad film\t0\n')
  return tmp_path


@pytest.mark.slow
def test_tasks_are_shown_and_saved(finished_run, data_dir, tmp_path, capsys):
  run = tmp_path / 'run'
  tiny_runs.copy(finished_run, run)
  flags = [f'--workdir={run}', f'--data_dir={data_dir}', '--json']
  assert cli.main(['eval', '--tasks=sst2', *flags]) == 0
  out = capsys.readouterr().out
  found = json.loads(out.splitlines()[-1])
  assert found['sst2']['questions'] == 2 and 0 <= found['sst2']['acc'] <= 1
  saved = json.loads((run / 'tasks.json').read_text())
  assert saved == {'step': 6, 'tasks': found}
  assert 'acc_norm' in out


@pytest.mark.parametrize(
  'flags, code, message',
  [
    (['--tasks=,'], 2, '--tasks is empty'),
    (['--tasks=sst2', '--limit=0'], 2, '--limit=0: expected at least 1'),
    (['--tasks=sst2', '--num_fewshot=2'], 2, '--tasks=sst2_local'),
    (['--tasks=piqa'], 3, 'data set piqa: no such folder'),
    (['--tasks=piqa_local'], 2, r"pip install 'gpt_jax[lm-eval]'"),
  ],
)
def test_what_is_wrong_is_said_before_anything_loads(
  flags, code, message, data_dir, capsys, monkeypatch
):
  monkeypatch.setitem(sys.modules, 'lm_eval', None)
  monkeypatch.delitem(sys.modules, 'gpt_jax.harness.lm_eval_model', raising=False)
  monkeypatch.delenv('GPT_JAX_DATA', raising=False)
  monkeypatch.chdir(data_dir)
  assert cli.main(['eval', '--workdir=nothing_there', *flags]) == code
  assert message in capsys.readouterr().err
