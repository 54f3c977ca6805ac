"""Runs that train together are those that they would be alone, each in its workdir."""

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import DivergedError
from gpt_jax.program.shared import SharedPrograms
from gpt_jax.train import loop, preemption, together
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

FIELDS = (
  tiny_runs.SGD
  | tiny_runs.ONE_LAYER
  | {
    'eval.every_steps': 0,
    'eval.max_batches': 1,
  }
)
# Seeds, rates and decays mixed; without decay the program is another one.
VARIED = {
  'one': {'seed': 1, 'optimizer.weight_decay': 0.1},
  'two': {'seed': 2, 'optimizer.weight_decay': 0.2},
  'three': {'seed': 1, 'optimizer.learning_rate': 0.5, 'optimizer.weight_decay': 0.1},
}


def configs(fields=(), varied=VARIED):
  return {
    name: tiny_runs.tiny_config(FIELDS | dict(fields) | more)
    for name, more in varied.items()
  }


def train_together(chosen, folder):
  """Returns ({name: error or None}, names by program)."""
  programs = SharedPrograms(chosen.values(), jax.devices()[:1])
  with preemption.Watch() as signals:
    driver = together.Together(
      {
        name: loop.run(
          config, folder / name, signals, quiet=True, open_program=programs.open_program
        )
        for name, config in chosen.items()
      },
      jax.devices()[:2],
    )
    return dict(driver), driver.programs


def train_alone(config, workdir):
  programs = SharedPrograms(devices=jax.devices()[:1])
  return loop.train(config, workdir, quiet=True, open_program=programs.open_program)


def assert_same_runs(one, other):
  losses, wanted = tiny_runs.losses(one), tiny_runs.losses(other)
  assert losses.keys() == wanted.keys()
  np.testing.assert_allclose([*losses.values()], [*wanted.values()], rtol=5e-5)
  mine, theirs = (tiny_runs.saved_arrays(Workdir(run)) for run in (one, other))
  # SGD at these rates grows what rounding begins: 2e-4 of the largest entry of the
  # embedding after 50 steps while the losses agree to 1e-5, and on another processor
  # 1.2e-3 and 1.2e-5.
  for name, array in theirs.items():
    limit = 5e-3 * np.abs(array).max(initial=0)
    np.testing.assert_allclose(mine[name], array, rtol=0, atol=limit, err_msg=name)


@pytest.mark.slow
def test_fifty_steps_together_are_fifty_steps_alone(tmp_path):
  chosen = configs({'train.steps': 50, 'optimizer.learning_rate': 0.2})
  ended, programs = train_together(chosen, tmp_path / 'together')
  assert ended == dict.fromkeys(chosen)
  assert programs == [list(chosen)]
  for name, config in chosen.items():
    train_alone(config, tmp_path / 'alone' / name)
    assert_same_runs(tmp_path / 'together' / name, tmp_path / 'alone' / name)


@pytest.mark.slow
def test_runs_stopped_at_other_steps_go_on_together(tmp_path, monkeypatch):
  chosen = configs()
  with monkeypatch.context() as patch:
    # As after SIGKILL between the saves of two runs: one is at step 3, one at none.
    patch.setattr(loop, 'default_hooks', _crash_at({'one': 4, 'two': 2}))
    ended, _ = train_together(chosen, tmp_path / 'together')
  assert [bool(ended[name]) for name in chosen] == [True, True, False]
  del chosen['three']
  ended, _ = train_together(chosen, tmp_path / 'together')
  assert ended == dict.fromkeys(chosen)
  assert tiny_runs.start_steps(Workdir(tmp_path / 'together' / 'one'))[-1] == 3
  for name, config in chosen.items():
    train_alone(config, tmp_path / 'alone' / name)
    assert_same_runs(tmp_path / 'together' / name, tmp_path / 'alone' / name)


@pytest.mark.slow
def test_a_run_that_was_together_goes_on_alone(tmp_path, monkeypatch):
  chosen = configs()
  with monkeypatch.context() as patch:
    patch.setattr(loop, 'default_hooks', _crash_at({'one': 4, 'two': 4, 'three': 4}))
    train_together(chosen, tmp_path / 'together')
  train_alone(chosen['two'], tmp_path / 'together' / 'two')
  train_alone(chosen['two'], tmp_path / 'alone')
  assert_same_runs(tmp_path / 'together' / 'two', tmp_path / 'alone')


@pytest.mark.slow
def test_a_run_that_diverges_stops_no_other(tmp_path):
  guard = {'guard.max_bad_steps': 2, 'train.steps': 8}
  varied = VARIED | {'wild': {'optimizer.learning_rate': 1e38}}
  chosen = configs(guard, varied)
  ended, _ = train_together(chosen, tmp_path)
  assert isinstance(ended.pop('wild'), DivergedError)
  assert ended == dict.fromkeys(VARIED)
  assert (tmp_path / 'wild' / 'postmortem.json').exists()
  for name in VARIED:
    assert provenance.read_events(Workdir(tmp_path / name)) == []


@pytest.mark.slow
def test_runs_of_another_structure_are_another_program(tmp_path):
  varied = {'one': VARIED['one'], 'none': {'optimizer.weight_decay': 0.0}}
  ended, programs = train_together(configs(varied=varied), tmp_path)
  assert ended == dict.fromkeys(varied)
  assert programs == [['one'], ['none']]


def _crash_at(steps):
  """Returns default hooks that raise in the runs `{name: step}`."""
  usual = loop.default_hooks

  def hooks_of(session, saver):
    step = steps.get(session.workdir.path.name)

    def crash(session, progress):
      session.store.wait()
      raise RuntimeError('crash')

    return [*usual(session, saver)] + ([loop.hooks.Every(step, crash)] if step else [])

  return hooks_of
