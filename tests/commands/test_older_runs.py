"""Runs that were saved before a field existed, opened by every command that opens one.

The run is that of the first edition (tests/train/test_first_edition.py); the field and
the section are added to the schema here.
"""

import json
import zipfile

import pytest

from gpt_jax import cli
from gpt_jax.config import load, migrate
from gpt_jax.config.schema import Config, OptimizerConfig, section
from tests import tiny_runs
from tests.train.test_first_edition import SAVED

COMMANDS = {
  'eval': ['--config.eval.max_batches=1'],
  'generate': ['--prompt=1', '--max_new_tokens=2'],
  'replay': ['--step=3', '--no_loss'],
  'checkpoint': [],
  'doctor': [],
  'train': ['--config.train.steps=5', '--config.eval.sets={}'],
}
QUICK = ('eval', 'replay', 'checkpoint', 'doctor')


@section
class _OptimizerConfig(OptimizerConfig):
  novelty: float


@section
class _LoraConfig:
  rank: int


@section
class _NewConfig(Config):
  optimizer: _OptimizerConfig
  lora: _LoraConfig


@pytest.fixture
def older_run(tmp_path, monkeypatch):
  """Returns a workdir saved before `optimizer.novelty` and the section `lora` were."""
  with zipfile.ZipFile(SAVED) as archive:
    archive.extractall(tmp_path)
  monkeypatch.setattr(load, 'Config', _NewConfig)
  added = {'optimizer.novelty': 0.5, 'lora.rank': 0}
  monkeypatch.setattr(migrate, 'ADDED_FIELDS', migrate.ADDED_FIELDS | added)
  return tmp_path


@pytest.mark.parametrize('command', tiny_runs.mostly_slow(COMMANDS, *QUICK))
def test_a_field_that_was_not_there_means_as_before_to(
  command, older_run, capfd, monkeypatch
):
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  action = ['ls'] if command == 'checkpoint' else []
  flags = [*COMMANDS[command], f'--workdir={older_run}']
  code = cli.main([command, *action, *flags])
  said = capfd.readouterr()
  assert code == 0, said.err
  assert 'optimizer.novelty=0.5, lora.rank=0' in said.err
  if command == 'train':
    saved = json.loads((older_run / 'config.json').read_text())
    assert saved['lora'] == {'rank': 0}


def test_without_a_value_as_before_a_run_says_which_field(
  older_run, capfd, monkeypatch
):
  monkeypatch.setattr(migrate, 'ADDED_FIELDS', {})
  code = cli.main(['generate', f'--workdir={older_run}'])
  said = capfd.readouterr().err
  assert code == 4
  assert 'optimizer.novelty: missing' in said and 'config.json' in said
