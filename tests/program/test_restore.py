"""Parameters of a run: the step, the tokenizer and the tree that are asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import optimizers
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError
from gpt_jax.data import tokenizers
from gpt_jax.program import restore
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


@pytest.fixture
def store(finished_run):
  with CheckpointReader(Workdir(finished_run).checkpoints) as store:
    yield store


def wanted(store, step, item='params'):
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return store.abstract(step, item, here)


def test_the_newest_average_is_preferred(store):
  params, step = restore.load_params(store, wanted(store, 6))
  expected = store.restore(6, {'ema': wanted(store, 6, 'ema')})['ema']
  assert step == 6
  tiny_runs.assert_same(tiny_runs.named(params), tiny_runs.named(expected))


def test_the_average_of_bfloat16_parameters_is_float32(store):
  half = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16, sharding=x.sharding),
    wanted(store, 6),
  )
  params, _ = restore.load_params(store, half)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype('float32')}


def test_parameters_of_a_given_step_come_without_averaging(store):
  params, step = restore.load_params(store, wanted(store, 3), step=3, averaged=False)
  expected = store.restore(3, {'params': wanted(store, 3)})['params']
  assert step == 3
  tiny_runs.assert_same(tiny_runs.named(params), tiny_runs.named(expected))


def test_another_tokenizer_than_that_of_the_step_is_refused(store, finished_run):
  tokenizer = tokenizers.load(Workdir(finished_run).tokenizer)
  restore.load_params(store, wanted(store, 6), tokenizer=tokenizer)
  other = tokenizers.CharTokenizer('abc')
  with pytest.raises(CheckpointError, match=r'tokenizer \(char, 3 ids\) is not the'):
    restore.load_params(store, wanted(store, 6), tokenizer=other)


def test_a_run_without_a_step_says_who_saves_one(tmp_path):
  with CheckpointReader(tmp_path / 'checkpoints') as store:
    with pytest.raises(CheckpointError, match='no finished step.*gpt-jax train'):
      restore.choose_step(store)
    assert restore.choose_step(store, 4) == 4


def test_the_saved_embedding_says_how_many_rows_it_has(store):
  assert restore.embedding_rows(store, 6) == 257
  assert np.shape(wanted(store, 6)['embed']['embedding'])[0] == 257


@pytest.mark.slow
def test_half_precision_moments_of_older_runs_become_float32(
  tmp_path, monkeypatch, capsys
):
  half = {'model.param_dtype': 'bfloat16', 'checkpoint.every_steps': 1}
  with monkeypatch.context() as patch:
    patch.setattr(optimizers, 'in_float32', lambda transform: transform)  # as before
    config = tiny_runs.tiny_config(half | {'train.steps': 1})
    loop.train(config, tmp_path, quiet=True)
  loop.train(tiny_runs.tiny_config(half | {'train.steps': 2}), tmp_path)
  assert 'half-precision optimizer state made float32' in capsys.readouterr().out
  saved, after = (tiny_runs.saved_arrays(tmp_path, step) for step in (1, 2))
  moments = [name for name in after if "['nu']" in name]
  assert moments
  for name in moments:
    assert (saved[name].dtype, after[name].dtype) == ('bfloat16', 'float32')
    # The average goes on from what was saved, which only a larger gradient outweighs.
    assert (after[name] >= 0.95 * saved[name].astype('float32')).all()
