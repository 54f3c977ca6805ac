"""The last layers train, what lies below them keeps every bit."""

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.optimizers import last_layers
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs

NAMES = [
  'embed/embedding',
  'layers_0/block_0/mlp/up/kernel',
  'layers_0/block_1/mlp/up/kernel',
  'layers_1/block_0/mlp/up/kernel',
  'layers_1/block_1/mlp/up/kernel',
  'final_norm/scale',
  'task_head/kernel',
]


def training(count, names=NAMES):
  frozen = last_layers.frozen(count, names)
  return [name for name in names if name not in frozen]


def test_the_last_layers_norm_and_head_train():
  assert training(None) == NAMES
  assert training(1) == NAMES[4:]
  assert training(3) == NAMES[2:]
  assert training(4) == NAMES[1:]


def test_no_layer_is_a_probe_of_the_features():
  assert training(0) == ['task_head/kernel']


def test_a_stack_of_layers_trains_as_a_whole():
  stacked = ['embed/embedding', 'layers/block_0/mlp/up/kernel', 'task_head/kernel']
  assert training(2, stacked) == stacked[1:]
  assert training(0, stacked) == stacked[2:]


def build(count, overrides=None):
  settings = tiny_runs.SGD | {
    'objective.name': 'token_labels',
    'model.scan_layers': False,
    'optimizer.train_last_layers': count,
  }
  config = tiny_runs.tiny_config(settings | (overrides or {}))
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  vocab = objectives.Vocab(size=50, eos_id=0)
  return build_program(config, vocab=vocab, mesh=mesh)


@pytest.mark.parametrize(
  'count, groups, moving',
  [
    (1, (), {'layers_1', 'final_norm', 'task_head'}),
    (0, (), {'task_head'}),
    (1, ({'match': 'final_norm', 'freeze': True},), {'layers_1', 'task_head'}),
  ],
)
def test_a_step_moves_nothing_else(count, groups, moving):
  program = build(count, {'optimizer.groups': groups})
  rng = np.random.default_rng(0)
  batch = {
    'tokens': rng.integers(0, 50, (8, 17)).astype(np.int32),
    'labels': rng.integers(0, 2, (8, 17)).astype(np.int32),
  }
  before = tiny_runs.named(program.init(0).params)
  after = tiny_runs.named(program.step(program.init(0), batch)[0].params)
  moved = {name for name in after if not np.array_equal(after[name], before[name])}
  assert {name.split("'")[1] for name in moved} == moving


@pytest.mark.parametrize(
  'overrides, message',
  [
    ({'optimizer.train_last_layers': 1}, 'set model.scan_layers=False'),
    ({'optimizer.train_last_layers': 3}, 'expected at most that'),
    ({'optimizer.train_last_layers': -1}, 'expected at least 0'),
  ],
)
def test_layers_that_cannot_be_parted_are_refused(overrides, message):
  with pytest.raises(ConfigError, match=message):
    tiny_runs.tiny_config(overrides)


def test_a_probe_needs_a_head_of_its_own():
  with pytest.raises(ConfigError, match='model.tie_embeddings'):
    build(0, {'objective.name': 'causal_lm'})
