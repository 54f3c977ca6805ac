"""Averages of checkpoints: exact means, whole workdirs, refusals that leave nothing."""

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import CheckpointError, ConfigError, StorageError
from gpt_jax.train import average, loop, resume, score_run
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.checkpoints.states import open_all
from tests.faults import flips


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'run'
  settings = tiny_runs.ONE_LAYER | {'checkpoint.every_steps': 2, 'train.steps': 6}
  loop.train(tiny_runs.tiny_config(settings), folder, quiet=True)
  return folder


def params_of(workdir, step=None):
  saved = tiny_runs.saved_arrays(workdir, step)
  return {k: v for k, v in saved.items() if k.startswith("['params']")}


def test_parameters_are_the_float32_mean(run, tmp_path):
  assert average.average(run, tmp_path / 'mean', steps=[6, 2, 4]) == [2, 4, 6]
  found = params_of(tmp_path / 'mean')
  each = [params_of(run, step) for step in (2, 4, 6)]
  for name, values in found.items():
    total = (each[0][name] + each[1][name]) + each[2][name]
    # Division on a device may be a multiplication by 1/3: one unit in the last place.
    np.testing.assert_allclose(values, total / np.float32(3), rtol=2e-7, err_msg=name)
    assert values.dtype == each[0][name].dtype
  assert found.keys() == each[0].keys()


def test_one_step_averaged_is_itself(run, tmp_path):
  average.average(run, tmp_path / 'same', steps=[4])
  tiny_runs.assert_same(params_of(tmp_path / 'same'), params_of(run, 4))
  same = score_run.score_run(tmp_path / 'same')
  assert same.step == 4
  assert same.sets == score_run.score_run(run, step=4).sets


def test_sums_of_half_precision_are_float32(tmp_path):
  with open_all(tmp_path / 'checkpoints') as store:
    for step in flips.STEPS:
      store.save(step, flips.arrays(step), {'next_sample': step})
    found = average.mean_params(store, list(flips.STEPS))['block']['kernel']
  wide = [
    np.asarray(flips.arrays(step)['params']['block']['kernel'], np.float32)
    for step in flips.STEPS
  ]
  mean = jax.numpy.asarray(sum(wide) / np.float32(3), found.dtype)
  assert found.dtype == jax.numpy.bfloat16
  np.testing.assert_allclose(
    np.asarray(found, np.float32), np.asarray(mean, np.float32), rtol=2**-8
  )


def test_the_last_steps_are_the_newest(run, tmp_path):
  assert average.average(run, tmp_path / 'mean', last=2) == [4, 6]
  (start,) = provenance.read_starts(Workdir(tmp_path / 'mean'))
  assert start['averaged'] == [4, 6] and start['source'] == str(run)


def test_an_average_is_not_trained_on(run, tmp_path):
  average.average(run, tmp_path / 'mean', last=2)
  with pytest.raises(CheckpointError, match='--config.init_from='):
    resume.refuse_imported(Workdir(tmp_path / 'mean'))


@pytest.mark.parametrize(
  'asked, error, expected',
  [
    ({}, ConfigError, '--steps=10,20,30 or --last=N'),
    ({'steps': [2], 'last': 1}, ConfigError, '--steps=10,20,30 or --last=N'),
    ({'steps': [2, 2]}, ConfigError, 'each once'),
    ({'steps': [2, 5]}, CheckpointError, 'step 5 in .*steps \\[2, 4, 6\\]'),
    ({'last': 4}, CheckpointError, '--last=4'),
    ({'last': 0}, CheckpointError, '--last=0'),
  ],
)
def test_wrong_steps_are_refused(run, tmp_path, asked, error, expected):
  with pytest.raises(error, match=expected):
    average.average(run, tmp_path / 'mean', **asked)
  assert not (tmp_path / 'mean').exists()


def test_a_workdir_is_never_overwritten(run, tmp_path):
  with pytest.raises(StorageError, match='holds a run'):
    average.average(run, run, last=1)
  with pytest.raises(CheckpointError, match='holds no run'):
    average.average(tmp_path, tmp_path / 'mean', last=1)


def test_nothing_is_left_of_an_average_that_fails(run, tmp_path, monkeypatch):
  def fail(workdir, entry):
    raise StorageError('the disk is full')

  monkeypatch.setattr(provenance, 'add_start', fail)
  with pytest.raises(StorageError, match='full'):
    average.average(run, tmp_path / 'mean', last=1)
  out = Workdir(tmp_path / 'mean')
  assert not out.config.exists() and not out.checkpoints.exists()
