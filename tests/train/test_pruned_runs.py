"""Recovery training: zeros hold through steps, resume, meshes, averages and export."""

import jax
import numpy as np
import pytest
import safetensors.numpy

import gpt_jax
from gpt_jax import cli
from gpt_jax.config.files import load_file
from gpt_jax.core import pytree
from gpt_jax.program import setup
from gpt_jax.train import loop
from tests import tiny_runs

# A model of the shape of Llama's, which can be exported; layers are scanned.
LLAMA = {'model.activation': 'swiglu', 'model.d_ff': 64, 'optimizer.weight_decay': 0.1}
SHARDED = {
  'parallel.preset': 'fsdp_tensor',
  'parallel.mesh': {'data': 2, 'fsdp': 2, 'tensor': 2},
  'model.vocab_size': None,
}


@pytest.fixture(scope='module')
def pruned(tmp_path_factory):
  """Returns the workdir of a run with half of its weights zeroed, two of four."""
  folder = tmp_path_factory.mktemp('pruned')
  config = tiny_runs.tiny_config(LLAMA | {'train.steps': 4, 'eval.every_steps': 0})
  loop.train(config, folder / 'whole', quiet=True)
  flags = [f'--workdir={folder / "whole"}', f'--out={folder / "out"}', '--no_loss']
  assert cli.main(['compress', *flags, '--method=wanda:pattern=2:4:batches=2']) == 0
  return folder / 'out'


def recovery(pruned, overrides=None):
  settings = {'init_from': str(pruned), 'train.steps': 6, 'eval.every_steps': 3}
  return setup.resolve(load_file(str(pruned)), settings | (overrides or {}))


def zeros(workdir):
  """Returns {kernel of the blocks: where it is zero}, of its last step."""
  leaves = pytree.named_leaves(gpt_jax.load(workdir).params)
  return {
    name: np.asarray(leaf) == 0
    for name, leaf in leaves
    if name.startswith('layers') and name.endswith('kernel')
  }


def assert_kept(workdir, pruned):
  before, after = zeros(pruned), zeros(workdir)
  assert before.keys() == after.keys()
  for name, is_zero in before.items():
    assert is_zero.mean() == 0.5
    np.testing.assert_array_equal(after[name], is_zero, err_msg=name)


@pytest.mark.slow
def test_zeros_hold_through_steps_resume_and_average(pruned, tmp_path):
  config = recovery(pruned, {'optimizer.ema_decay': 0.5})
  assert config.optimizer.post_update == 'keep_zeros'
  through, cut = tmp_path / 'through', tmp_path / 'cut'
  loop.train(config, through, quiet=True)
  tiny_runs.train_until_crash(config, cut, 3)
  loop.train(config, cut, quiet=True)
  saved = tiny_runs.saved_arrays(through)
  tiny_runs.assert_same(tiny_runs.saved_arrays(cut), saved)
  assert_kept(through, pruned)  # of the average, which `load` takes
  before = tiny_runs.saved_arrays(pruned)
  for name, values in before.items():  # of the raw parameters too
    if "['layers']" in name and "['kernel']" in name:
      np.testing.assert_array_equal(saved[name] == 0, values == 0, err_msg=name)


@pytest.mark.slow
def test_zeros_hold_on_a_mesh(pruned, tmp_path):
  config = recovery(
    pruned, {k: v for k, v in SHARDED.items() if k != 'model.vocab_size'}
  )
  assert len(jax.devices()) == 8
  loop.train(config, tmp_path / 'run', quiet=True)
  assert_kept(tmp_path / 'run', pruned)


@pytest.mark.slow
def test_zeros_are_exported(pruned, tmp_path):
  out = tmp_path / 'hf'
  assert cli.main(['export', f'--workdir={pruned}', f'--out={out}']) == 0
  arrays = safetensors.numpy.load_file(out / 'model.safetensors')
  shares = {n: (a == 0).mean() for n, a in arrays.items() if '_proj' in n}
  assert len(shares) == 14  # seven matrices of two layers
  assert set(shares.values()) == {0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
  'method', ['drop_heads:batches=2', 'drop_units:fraction=0.5:batches=2', 'drop_layers']
)
def test_a_smaller_dense_model_is_scored_and_trained_on(method, tmp_path, plain_run):
  out, run = tmp_path / 'out', tmp_path / 'run'
  flags = [f'--workdir={plain_run}', f'--out={out}', f'--method={method}']
  assert cli.main(['compress', *flags]) == 0
  before, after = (pytree.count(gpt_jax.load(one).params) for one in (plain_run, out))
  assert after < before
  flags = [f'--config={out}', f'--config.init_from={out}', f'--workdir={run}']
  assert cli.main(['train', *flags, '--config.train.steps=2']) == 0
  assert cli.main(['eval', f'--workdir={run}']) == 0
