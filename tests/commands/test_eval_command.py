"""`gpt-jax eval`: a table for people, one JSON object for programs."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import note_once
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


@pytest.fixture
def run_copy(finished_run, tmp_path):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  return tmp_path / 'run'


def test_metrics_come_as_a_table_as_json_and_as_a_file(run_copy, capsys):
  before = json.loads(Workdir(run_copy).eval.read_text())
  Workdir(run_copy).eval.unlink()
  assert cli.main(['eval', f'--workdir={run_copy}', '--baselines', '--json']) == 0
  out = capsys.readouterr().out
  assert 'validation at step 6' in out
  assert 'bits_per_byte' in out
  assert '1-gram' in out
  printed = json.loads(out.splitlines()[-1])
  assert printed == {'validation': pytest.approx(before['validation'])}
  assert json.loads(Workdir(run_copy).eval.read_text()) == printed | {'step': 6}


def test_a_bound_is_said_and_all_can_be_scored(run_copy, capsys):
  note_once.cache_clear()
  bound = ['--config.eval.max_batches=1', '--config.eval.batch_size=8', '--json']
  tokens = []
  for flags in (bound, [*bound, '--all']):
    assert cli.main(['eval', f'--workdir={run_copy}', *flags]) == 0
    out, err = capsys.readouterr()
    tokens.append(json.loads(out.splitlines()[-1])['validation']['tokens'])
    # 2,000 tokens in rows of 16, eight a batch.
    assert ('the first 1 of 16 batches of 8' in err) == ('--all' not in flags)
  assert tokens == [8 * 16, 2000]


def test_other_sets_and_steps_can_be_asked_for(run_copy, capsys):
  sets = "--config.eval.sets={'test': {'split': 'test'}}"
  flags = ['--step=3', sets, '--config.eval.max_batches=1', '--json']
  assert cli.main(['eval', f'--workdir={run_copy}', *flags]) == 0
  out = capsys.readouterr().out
  assert 'test at step 3' in out
  assert json.loads(out.splitlines()[-1]).keys() == {'test'}


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--step=99'], 4, 'it holds steps [3, 6]'),
    (['--config.eval.stes=1'], 2, "did you mean 'sets'?"),
    (['--config.eval.sets={"v": {"splt": "test"}}'], 2, 'eval.sets.v.splt: unknown'),
    (['--config.data.path=gone.txt'], 3, "data.path='gone.txt'"),
    (['--config.tokenizer.name=char'], 2, "tokenizer.name: 'byte' -> 'char'"),
    (['--config.model.d_model=64'], 4, 'wanted float32[257, 64]'),
  ],
)
def test_bad_input_ends_in_its_exit_code(flags, code, expected, finished_run, capsys):
  assert cli.main(['eval', f'--workdir={finished_run}', *flags]) == code
  assert expected in capsys.readouterr().err


def test_a_folder_without_a_run_says_what_is_expected(tmp_path, capsys):
  assert cli.main(['eval', f'--workdir={tmp_path / "none"}']) == 4
  assert 'gpt-jax train --config=configs/tiny.py' in capsys.readouterr().err
  assert not (tmp_path / 'none').exists()
