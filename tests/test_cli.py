"""The command line as a new user meets it: exit codes, one error block, typos, help."""

import os
import subprocess
import sys

import jax
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.commands import COMMANDS
from gpt_jax.core import errors
from tests import tiny_runs


def fail(monkeypatch, error):
  """Makes `gpt-jax train` raise `error`."""

  def run(args, overrides):
    raise error

  monkeypatch.setattr(cli._module('train'), 'run', run)


def error_block(capsys):
  """Returns what stands on stderr, which is one error without a traceback."""
  text = capsys.readouterr().err
  assert text.startswith('\ngpt-jax: error: ')
  assert text.count('gpt-jax: error:') == 1
  assert 'Traceback' not in text
  return text


@pytest.mark.parametrize(
  'error, code',
  [
    (errors.UserError, 2),
    (errors.ConfigError, 2),
    (errors.DataError, 3),
    (errors.CheckpointError, 4),
    (errors.StorageError, 5),
    (errors.DivergedError, 6),
  ],
)
def test_each_kind_of_error_has_its_exit_code(error, code, monkeypatch, capsys):
  fail(monkeypatch, error('what to fix'))
  assert cli.main(['train', '--workdir=x']) == code
  assert error_block(capsys) == '\ngpt-jax: error: what to fix\n'


def test_debug_shows_the_traceback(monkeypatch):
  fail(monkeypatch, errors.DataError('what to fix'))
  with pytest.raises(errors.DataError):
    cli.main(['train', '--workdir=x', '--debug'])


def test_a_bug_of_ours_is_not_reported_as_a_user_error(monkeypatch):
  fail(monkeypatch, KeyError('ours'))
  with pytest.raises(KeyError):
    cli.main(['train', '--workdir=x'])


LACKS = [
  MemoryError('std::bad_alloc'),
  jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 64 bytes.'),
]


@pytest.mark.parametrize('error', LACKS, ids=['host', 'device'])
def test_any_lack_of_memory_is_one_message(error, monkeypatch, capsys):
  fail(monkeypatch, error)
  assert cli.main(['train', '--workdir=x']) == 2
  assert 'out of memory' in error_block(capsys)


def test_an_interrupt_says_what_is_kept(monkeypatch, capsys):
  fail(monkeypatch, KeyboardInterrupt())
  assert cli.main(['train', '--workdir=x']) == 130
  assert 'last saved step is kept' in capsys.readouterr().err


def test_a_run_that_was_stopped_and_saved_is_no_error(monkeypatch, capsys):
  fail(monkeypatch, errors.Interrupted('SIGTERM: step 3 is saved'))
  assert cli.main(['train', '--workdir=x']) == 75
  text = capsys.readouterr().err
  assert text == '\ngpt-jax: SIGTERM: step 3 is saved\n'


def test_an_aborted_start_leaves_without_shutting_down(monkeypatch, capsys):
  fail(monkeypatch, errors.AbortedStart('SIGINT: stopped before the first step'))
  monkeypatch.setattr(cli, '_ignore_signals', lambda: None)
  monkeypatch.setattr(sys, 'argv', ['gpt-jax', 'train', '--workdir=x'])
  left = []
  monkeypatch.setattr(cli.os, '_exit', left.append)
  cli.main()
  assert left == [75]
  assert 'stopped before the first step' in capsys.readouterr().err


@pytest.mark.parametrize(
  'argv, expected',
  [
    (['--config.a.b=1', 'rest'], {'a.b': '1'}),
    (['--config.a.b', '1', 'rest'], {'a.b': '1'}),
    (['rest', '--config.a=x=y', '--config.b='], {'a': 'x=y', 'b': ''}),
    (['--config.a', '-1', 'rest'], {'a': '-1'}),
    (['rest', '--config.a=1', '--config.a=2'], {'a': '2'}),
  ],
)
def test_overrides_are_separated_from_flags(argv, expected):
  assert cli.split_overrides(argv) == (['rest'], expected)


@pytest.mark.parametrize('argv', [['--config.a'], ['--config.a', '--debug']])
def test_an_override_without_a_value_says_how_to_give_one(argv):
  with pytest.raises(errors.UserError, match='--config.a: expected a value, as in'):
    cli.split_overrides(argv)


@pytest.mark.parametrize(
  'argv, expected',
  [
    (['trian'], "unknown command 'trian'; did you mean train?"),
    (['train', '--wrkdir=x'], 'unknown flag --wrkdir; did you mean --workdir?'),
    (['train', '--workdir=x', '--alow_changes'], 'did you mean --allow_changes?'),
    (['train', '--prompt=x'], 'unknown flag --prompt of train; it belongs to generate'),
    (['eval', '--workdir', 'x', '--step=a'], "--step: invalid int value: 'a'"),
    (['train'], 'required: --workdir'),
    ([], 'required: COMMAND'),
  ],
)
def test_command_line_mistakes_name_the_nearest_alternative(argv, expected, capsys):
  assert cli.main(argv) == 2
  text = error_block(capsys)
  assert expected in text
  assert '--help.' in text


@pytest.mark.parametrize('command', sorted(COMMANDS))
def test_help_says_what_a_command_does_and_shows_examples(command, capsys):
  with pytest.raises(SystemExit) as exit:
    cli.main([command, '--help'])
  assert exit.value.code == 0
  text = capsys.readouterr().out
  assert f'examples:\n  gpt-jax {command} ' in text
  assert '--debug' in text


def test_the_overview_lists_the_commands(capsys):
  with pytest.raises(SystemExit):
    cli.main(['--help'])
  text = capsys.readouterr().out
  for name, line in COMMANDS.items():
    assert name in text.split()
    assert line in ' '.join(text.split())


def test_version_prints_that_of_the_package(capsys):
  with pytest.raises(SystemExit):
    cli.main(['--version'])
  assert capsys.readouterr().out == f'gpt_jax {gpt_jax.__version__}\n'


EARLY = """
import contextlib, io, sys
from gpt_jax import cli

def mistake(*flags):
  with contextlib.redirect_stderr(io.StringIO()) as err:
    code = cli.main(['train', '--workdir=' + sys.argv[1], *flags])
  assert code == 2, (code, err.getvalue())
  return err.getvalue()

first = mistake('--config=configs/tiny.py', '--config.trian.steps=5',
                '--config.model.num_heads=True', '--config.data.seq_len', '-1')
assert '3 problem(s)' in first, first
for part in ("trian: unknown key; did you mean 'train'?", 'model.num_heads=True',
             'data.seq_len=-1: expected at least 1'):
  assert part in first, first
assert 'the warm-up ends at 50 and the decay at 20' in mistake(
  '--config=configs/tiny.py', '--config.train.steps=20',
  '--config.schedule.warmup_steps=50')
assert 'no such file' in mistake('--config=configs/tinny.py')
assert "did you mean 'markov'?" in mistake(
  '--config=configs/tiny.py', '--config.data.source=makrov')
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), 'a device was touched'
"""


def test_all_config_mistakes_show_before_any_device_is_used(tmp_path):
  workdir = tmp_path / 'run'
  subprocess.run([sys.executable, '-c', EARLY, workdir], check=True, env=environment())
  assert not workdir.exists()


def test_python_m_gpt_jax_is_the_same_command(tmp_path):
  command = [sys.executable, '-m', 'gpt_jax', 'eval', f'--workdir={tmp_path}']
  done = subprocess.run(command, capture_output=True, text=True, env=environment())
  assert done.returncode == 4
  assert done.stdout == ''
  (line,) = done.stderr.strip().splitlines()
  assert line.startswith(f'gpt-jax: error: {tmp_path}: no config.json there')


def environment():
  return os.environ | {'PYTHONPATH': str(tiny_runs.ROOT)}


def test_output_that_nobody_reads_ends_a_command_quietly(monkeypatch, capsys):
  def run(args, overrides):
    for _ in range(3):
      print('text', flush=True)

  reader, writer = os.pipe()
  os.close(reader)
  monkeypatch.setattr(cli._module('doctor'), 'run', run)
  with os.fdopen(writer, 'w') as stdout:
    monkeypatch.setattr(sys, 'stdout', stdout)
    assert cli.main(['doctor']) == 141
    assert cli.main(['doctor']) == 0  # nothing is written to the pipe any more
  assert capsys.readouterr().err == ''


def test_a_broken_pipe_that_is_not_the_output_is_a_bug(monkeypatch):
  fail(monkeypatch, BrokenPipeError())
  with pytest.raises(BrokenPipeError):
    cli.main(['train', '--workdir=x'])
