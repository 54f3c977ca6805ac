"""`gpt-jax train` with good and bad input, as it ends in the shell."""

import json
import re
import shlex

import pytest

from gpt_jax import cli
from gpt_jax.reports import task_page
from gpt_jax.workdir.paths import Workdir
from tests import task_runs, tiny_runs


def train(workdir, overrides=None, *more):
  return cli.main(['train', *tiny_runs.flags(overrides), f'--workdir={workdir}', *more])


def test_a_run_prints_its_setup_its_progress_and_the_next_step(tmp_path, capsys):
  assert train(tmp_path / "a 'run'") == 0
  out = capsys.readouterr().out
  assert '25,248 parameters, 16,384 training tokens, 6 steps' in out
  assert 'fresh parameters' in out
  assert 'compilation cache in ' in out
  assert re.search(r'step: (from|not in) the compilation cache', out)
  assert 'step 6/6  loss ' in out
  assert 'eval validation' in out
  # A shell reads back what is printed.
  (line,) = (line for line in out.splitlines() if line.startswith('next: '))
  workdir = f"--workdir={tmp_path}/a 'run'"
  assert shlex.split(line)[1:4] == ['gpt-jax', 'eval', workdir]


def test_values_may_follow_their_flag_after_a_space(tmp_path):
  more = ['--config.train.steps', '2', '--config.eval.every_steps', '0']
  assert train(tmp_path / 'run', {}, *more) == 0
  assert list(tiny_runs.losses(tmp_path / 'run')) == [1, 2]


def test_a_started_run_needs_no_config_again(finished_run, tmp_path, capsys):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  assert cli.main(['train', f'--workdir={tmp_path / "run"}']) == 0
  assert 'resumed from step 6' in capsys.readouterr().out


def test_a_new_run_needs_a_config(tmp_path, capsys):
  assert cli.main(['train', f'--workdir={tmp_path}']) == 2
  assert '--config=configs/tiny.py' in capsys.readouterr().err


def test_a_changed_config_is_refused_unless_allowed(finished_run, tmp_path, capsys):
  tiny_runs.copy(finished_run, tmp_path / 'run')
  flags = ['train', f'--workdir={tmp_path / "run"}', '--config.optimizer.b2=0.5']
  assert cli.main(flags) == 4
  assert '  optimizer.b2: 0.95 -> 0.5\n' in capsys.readouterr().err
  assert cli.main([*flags, '--allow_changes']) == 0
  assert Workdir(tmp_path / 'run').read_config()['optimizer']['b2'] == 0.5


@pytest.mark.parametrize(
  'overrides, code, expected',
  [
    ({'data.source': 'text'}, 3, 'data.path is empty'),
    (
      {'data.source': 'text', 'data.path': 'no/such.txt'},
      3,
      "data.path='no/such.txt': no such file, glob or folder",
    ),
    ({'data.source': 'text', 'data.path': '{}/empty.txt'}, 3, 'is empty (0 bytes)'),
    (
      {'data.source': 'tfds', 'data.name': 'nowhere_to_be_found'},
      3,
      'download_and_prepare',
    ),
    ({'data.seq_len': 99_999}, 3, 'longer than the data'),
    ({'data.split': 'validaton'}, 2, "did you mean 'validation'?"),
    ({'init_from': '{}/nothing'}, 4, 'no checkpoints there'),
    ({'train.batch_size': 9}, 2, 'do not divide over 8 data shards; try 8'),
    ({'parallel.mesh.fsdp': 3}, 2, 'there are 8'),
  ],
)
def test_bad_input_gives_its_exit_code_and_the_way_out(
  overrides, code, expected, tmp_path, capsys
):
  (tmp_path / 'empty.txt').touch()
  filled = {key: str(value).format(tmp_path) for key, value in overrides.items()}
  assert train(tmp_path / 'run', filled) == code
  text = capsys.readouterr().err
  assert expected in text
  assert 'Traceback' not in text
  assert text.count('gpt-jax: error:') == 1


def test_a_workdir_that_cannot_be_written_is_a_storage_error(tmp_path, capsys):
  (tmp_path / 'file').touch()
  assert train(tmp_path / 'file' / 'run') == 5
  assert 'make it writable' in capsys.readouterr().err


def test_a_damaged_config_of_the_run_is_a_checkpoint_error(tmp_path, capsys):
  (tmp_path / 'config.json').write_text('{"seed": ')
  assert cli.main(['train', f'--workdir={tmp_path}']) == 4
  assert 'config.json is not valid JSON' in capsys.readouterr().err


@pytest.mark.slow
def test_divergence_has_an_exit_code_of_its_own(tmp_path, capsys):
  hot = {'optimizer.learning_rate': 1e38, 'optimizer.clip_norm': 0.0}
  assert train(tmp_path / 'run', hot | {'model.norm': 'layernorm'}) == 6
  assert 'the run has diverged' in capsys.readouterr().err
  assert json.loads((tmp_path / 'run' / 'run.json').read_text())['starts']


@pytest.mark.slow
@pytest.mark.extra
def test_a_fine_tuning_ends_with_its_report(tmp_path, capsys, monkeypatch):
  pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
  flags = tiny_runs.flags(task_runs.settings(tmp_path, {'train.steps': 10}))
  run = tmp_path / 'run'
  assert cli.main(['train', *flags, f'--workdir={run}']) == 0
  out = capsys.readouterr().out
  assert f'report: {run / "report.html"}' in out
  assert f'next: gpt-jax eval --workdir={run} --baselines' in out
  assert 'majority class' in (run / 'report.html').read_text()

  (run / 'report.html').unlink()

  def fail(path):
    raise RuntimeError('no figures here')

  monkeypatch.setattr(task_page, 'write', fail)
  assert cli.main(['train', f'--workdir={run}']) == 0
  out = capsys.readouterr().out
  assert 'report.html could not be written (RuntimeError: no figures here)' in out
  assert f'gpt-jax report --workdir={run}' in out
