"""A merged adapter is a plain model that computes the same, as a run like others."""

import jax
import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.core.errors import CheckpointError, ConfigError, StorageError
from gpt_jax.interop.open_model import open_model
from gpt_jax.program import adapted_checkpoints, base
from gpt_jax.train import merge, resume
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests.peft_formats import runs


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('merge')
  runs.gpt2(folder / 'base')
  runs.write(folder / 'run', folder / 'base', rank=2, targets='', biases='all')
  return folder


def logits(path):
  return np.asarray(gpt_jax.load(path).logits(runs.TOKENS_BT))


def test_a_merged_run_computes_the_same(folder, tmp_path):
  assert merge.merge(folder / 'run', tmp_path / 'plain') == 0
  np.testing.assert_allclose(
    logits(tmp_path / 'plain'), logits(folder / 'run'), atol=1e-5, rtol=0
  )
  assert abs(logits(folder / 'base') - logits(folder / 'run')).max() > 0.01
  config = gpt_jax.load(tmp_path / 'plain').config
  assert config.peft.name == ''
  with adapted_checkpoints.open_run(tmp_path / 'plain') as store:
    assert base.Base.of_step(store, 0) is None
    assert store.abstract(0, 'params')['embed']['embedding'].shape == (11, 8)
  (start,) = provenance.read_starts(Workdir(tmp_path / 'plain'))
  assert start['merged'] == 'lora' and start['source'] == str(folder / 'run')


def test_it_needs_its_base_no_more(folder, tmp_path):
  runs.gpt2(tmp_path / 'base')
  runs.write(tmp_path / 'run', tmp_path / 'base', rank=2)
  merge.merge(tmp_path / 'run', tmp_path / 'plain')
  wanted = logits(tmp_path / 'run')
  (tmp_path / 'base').rename(tmp_path / 'moved')
  np.testing.assert_allclose(logits(tmp_path / 'plain'), wanted, atol=1e-5, rtol=0)


def test_it_is_exported_as_a_plain_model(folder, tmp_path):
  run, out = str(folder / 'run'), str(tmp_path / 'plain')
  assert cli.main(['checkpoint', 'merge', f'--workdir={run}', f'--out={out}']) == 0
  assert cli.main(['export', f'--workdir={out}', f'--out={tmp_path / "hf"}']) == 0
  with open_model(tmp_path / 'hf') as model:
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    model.restore(0, {'params': model.abstract(0, 'params', here)})
  np.testing.assert_allclose(
    logits(tmp_path / 'hf'), logits(folder / 'run'), atol=1e-5, rtol=0
  )


def test_it_is_not_trained_on(folder, tmp_path):
  merge.merge(folder / 'run', tmp_path / 'plain')
  with pytest.raises(CheckpointError, match='an adapter merged into its base'):
    resume.refuse_imported(Workdir(tmp_path / 'plain'))


def test_what_cannot_be_is_refused(folder, tmp_path):
  merge.merge(folder / 'run', tmp_path / 'plain')
  with pytest.raises(ConfigError, match='has no adapter'):
    merge.merge(tmp_path / 'plain', tmp_path / 'again')
  with pytest.raises(StorageError, match='holds a run'):
    merge.merge(folder / 'run', tmp_path / 'plain')
  assert not (tmp_path / 'again').exists()
  assert cli.main(['checkpoint', 'merge', f'--workdir={folder / "run"}']) == 2
