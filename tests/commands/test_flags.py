"""Flags that commands share, and the cache of compiled programs."""

import argparse
import pathlib

import jax
import pytest

from gpt_jax import cli
from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError


def test_flags_are_parsed_into_their_names():
  parser = argparse.ArgumentParser()
  flags.add_workdir(parser)
  flags.add_config(parser)
  flags.add_processes(parser)
  flags.add_json(parser)
  args = parser.parse_args(
    ['--workdir=w', '--config=c.py:arg', '--coordinator=h:1', '--num_processes=2',
     '--process_id=1', '--json']
  )  # fmt: skip
  assert (args.workdir, args.config, args.json) == ('w', 'c.py:arg', True)
  assert (args.coordinator, args.num_processes, args.process_id) == ('h:1', 2, 1)


def test_commands_that_change_no_config_refuse_overrides():
  flags.refuse_overrides({})
  with pytest.raises(ConfigError, match='--config.model.dropout: this command uses'):
    flags.refuse_overrides({'model.dropout': '0.1'})
  with pytest.raises(ConfigError, match="put 'seed': 3 into overrides"):
    flags.refuse_overrides({'seed': '3'}, 'mine.py')


@pytest.fixture
def no_cache():
  """Takes the cache of the tests away meanwhile."""
  names = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')
  before = {name: jax.config.values[name] for name in names}
  jax.config.update('jax_compilation_cache_dir', None)
  yield
  for name, value in before.items():
    jax.config.update(name, value)


def cache_folder():
  flags.enable_compilation_cache()
  return jax.config.values['jax_compilation_cache_dir']


def test_compiled_programs_are_cached_in_the_home_folder(no_cache, monkeypatch):
  monkeypatch.delenv('GPT_JAX_CACHE', raising=False)
  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  assert cache_folder() == str(pathlib.Path.home() / '.cache' / 'gpt_jax' / 'xla')


def test_the_cache_folder_can_be_chosen(no_cache, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
  monkeypatch.setenv('GPT_JAX_CACHE', str(tmp_path / 'own'))
  assert cache_folder() == str(tmp_path / 'own')


def test_a_cache_that_jax_already_has_is_kept(monkeypatch, tmp_path):
  before = jax.config.values['jax_compilation_cache_dir']
  monkeypatch.setenv('GPT_JAX_CACHE', str(tmp_path / 'own'))
  assert before is not None
  assert cache_folder() == before


@pytest.mark.parametrize(
  'command', ['train', 'eval', 'generate', 'replay --step=1', 'checkpoint ls', 'doctor']
)
@pytest.mark.parametrize('name', ['', 'hdfs://bucket/run'])
def test_every_command_refuses_a_workdir_that_is_none(
  command, name, capsys, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  assert cli.main([*command.split(), f'--workdir={name}']) == 2
  assert f'argument --workdir: {name or repr(name)}' in capsys.readouterr().err
  assert not list(tmp_path.iterdir())
