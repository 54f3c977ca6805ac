"""A base that has moved is named once, after all of its arrays were compared."""

import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.train import merge, rebase
from gpt_jax.workdir.paths import Workdir
from tests.peft_formats import runs


@pytest.fixture
def folder(tmp_path):
  """Returns a folder with the run of an adapter, whose base has moved."""
  runs.gpt2(tmp_path / 'base')
  runs.write(tmp_path / 'run', tmp_path / 'base', rank=2)
  (tmp_path / 'base').rename(tmp_path / 'moved')
  return tmp_path


def test_a_run_without_its_base_says_how_to_name_it(folder):
  with pytest.raises(CheckpointError) as error:
    gpt_jax.load(folder / 'run')
  assert f'its base cannot be read from {folder / "base"}' in str(error.value)
  way_out = f'gpt-jax checkpoint rebase --workdir={folder / "run"} --base=MODEL'
  assert way_out in str(error.value)


def test_after_a_rebase_the_run_is_what_it_was(folder, tmp_path):
  run, moved = folder / 'run', folder / 'moved'
  line = ['checkpoint', 'rebase', f'--workdir={run}', f'--base={moved}']
  assert cli.main(line) == 0
  found = np.asarray(gpt_jax.load(run).logits(runs.TOKENS_BT))
  moved.rename(folder / 'base')  # where it was, for a run that was never moved
  runs.write(tmp_path / 'same', folder / 'base', rank=2)
  wanted = np.asarray(gpt_jax.load(tmp_path / 'same').logits(runs.TOKENS_BT))
  np.testing.assert_array_equal(found, wanted)


def test_another_model_is_refused_and_nothing_changes(folder):
  other, run = runs.gpt2(folder / 'other', seed=1), folder / 'run'
  before = Workdir(run).config.read_bytes()
  with pytest.raises(CheckpointError, match='is not the model that this adapter'):
    rebase.rebase(run, other)
  with pytest.raises(CheckpointError, match='no checkpoints there'):
    rebase.rebase(run, folder / 'nothing')
  assert Workdir(run).config.read_bytes() == before


def test_kernels_in_few_bits_are_compared_in_full(folder):
  saved = Workdir(folder / 'run').read_config()
  saved['peft']['base_storage'] = 'nf4'
  Workdir(folder / 'run').write_config(saved)
  base = rebase.rebase(folder / 'run', folder / 'moved')
  assert len(base.sources) > 10
  assert Workdir(folder / 'run').read_config()['init_from'] == str(folder / 'moved')


def test_a_run_that_needs_no_base_is_refused(folder):
  rebase.rebase(folder / 'run', folder / 'moved')
  merge.merge(folder / 'run', folder / 'plain')
  with pytest.raises(ConfigError, match='has no base'):
    rebase.rebase(folder / 'plain', folder / 'moved')
  assert cli.main(['checkpoint', 'rebase', f'--workdir={folder / "run"}']) == 2
