"""Points whose length is in epochs know their steps before they run."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import points, states
from gpt_jax.train import loop
from tests import task_runs

FILE = '''"""What is asked."""

from gpt_jax.sweeps import *


def get_experiment():
  return Experiment(
    base='base', overrides={overrides},
    sizes={{'quick': Size('a laptop', minutes=1, seeds=(0, 1))}},
  )
'''


def open_study(folder, **overrides):
  settings = task_runs.settings(folder) | {
    'train.steps': None, 'train.epochs': 1.0, 'train.batch_size': 16,
    'eval.every_epochs': 0.5, 'checkpoint.every_epochs': 1,
  }  # fmt: skip
  path = folder / 'study.py'
  path.write_text(FILE.format(overrides=repr(settings | overrides)))
  return points.open_study(path, workdir=folder / 'runs')


def test_epochs_are_steps_of_the_training_examples(tmp_path):
  for point in open_study(tmp_path).points:
    config = point.config
    assert (config.train.steps, config.eval.every_steps) == (10, 5)
    assert config.task.label_names == tuple(sorted(task_runs.LABELS))


def test_a_run_in_epochs_is_done_at_its_end(tmp_path):
  point = open_study(tmp_path).points[0]
  assert states.state_of(point).kind == states.MISSING
  loop.train(point.config, point.workdir, quiet=True)
  assert states.state_of(point).kind == states.DONE


def test_examples_that_are_not_there_are_named(tmp_path):
  files = {'train': str(tmp_path / 'none.jsonl')}
  with pytest.raises(ConfigError, match=r'train.epochs: .*none.jsonl'):
    open_study(tmp_path, **{'task.files': files})


def test_points_in_steps_open_no_data(tmp_path):
  files = {'train': str(tmp_path / 'none.jsonl')}
  given = {'task.files': files, 'train.steps': 7, 'train.epochs': None}
  given |= {'eval.every_epochs': None, 'checkpoint.every_epochs': None}
  assert open_study(tmp_path, **given).points[0].config.train.steps == 7
