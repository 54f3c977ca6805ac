"""AdaLoRA in a program: the budget on any mesh, what stays, what a run leaves."""

import dataclasses

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import stacking
from gpt_jax.optimizers import trainable
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.peft import adalora_allocation as allocation
from gpt_jax.program.build import build_program
from gpt_jax.tracking import metrics_file
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
STEPS = 8
ADALORA = {
  'peft.name': 'adalora', 'peft.options.initial_rank': 4,
  'peft.options.target_rank': 2, 'peft.options.warmup_steps': 2,
  'peft.options.final_steps': 2, 'peft.options.interval': 2, 'train.steps': STEPS,
}  # fmt: skip
# Adam would blow the rounding of a small gradient up to a whole step.
SGD = tiny_runs.SGD | {'optimizer.learning_rate': 0.1}
MATRICES = 2 * 6
PROGRAMS, RUNS = {}, {}


def build(overrides=None, devices=1):
  """Returns the Program of these settings; equal ones are built once."""
  key = repr((sorted((overrides or {}).items()), devices))
  if key not in PROGRAMS:
    config = tiny_runs.tiny_config(SGD | ADALORA | (overrides or {}))
    mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
    PROGRAMS[key] = build_program(config, vocab=VOCAB, mesh=mesh)
  return PROGRAMS[key]


def batch(step):
  tokens = np.random.default_rng(step).integers(1, 50, (8, 17), np.int32)
  return {'tokens': tokens}


def start(program):
  """Returns a state of the same parameters for all, with singular values not zero."""
  state, rng = program.init(0), np.random.default_rng(0)
  if 'base' not in RUNS:
    first = build().init(0).params
    RUNS['base'] = dict(pytree.named_leaves(stacking.unstack(first)))
  leaves = {name: np.asarray(leaf) for name, leaf in RUNS['base'].items()}
  for name in sorted(leaves):
    if name.rpartition('/')[2] in (allocation.P, allocation.E, allocation.Q):
      leaves[name] = 0.3 * rng.normal(size=leaves[name].shape).astype('f4')
  params = pytree.nested(leaves)
  if program.config.model.scan_layers:
    params = stacking.stack(params)
  params = jax.tree.map(
    lambda leaf, like: jax.device_put(leaf, like.sharding), params, state.params
  )
  return dataclasses.replace(state, params=params)


def trained(program):
  """Returns (parameters by name, unrolled; the metrics of each step)."""
  if id(program) in RUNS:
    return RUNS[id(program)]
  state, history = start(program), []
  for step in range(STEPS):
    rows = jax.device_put(batch(step), program.batch_sharding)
    state, metrics = program.step(state, rows)
    history.append({name: float(value) for name, value in metrics.items()})
  params = jax.tree.map(np.asarray, state.params)
  leaves = dict(pytree.named_leaves(stacking.unstack(params)))
  RUNS[id(program)] = leaves, history
  return leaves, history


def rank_in(leaves):
  return sum(
    (leaf != 0).sum() for n, leaf in leaves.items() if n.endswith(allocation.E)
  )


def test_steps_that_mask_leave_the_budget_and_no_more():
  leaves, history = trained(build())
  assert [one['rank_budget'] for one in history] == [48, 48, 34, 27, 24, 24, 24, 24]
  assert [one['rank'] for one in history] == [48, 48, 48, 27, 48, 24, 24, 24]
  assert rank_in(leaves) == 24
  assert history[-1]['objective'] == pytest.approx(
    history[-1]['loss'] + history[-1]['orthogonality'], rel=1e-5
  )


def test_the_penalty_pulls_towards_orthogonal_vectors():
  _, history = trained(build({'peft.options.orthogonality': 0.5}))
  assert history[-1]['orthogonality'] < history[0]['orthogonality']


@pytest.mark.slow
@pytest.mark.parametrize(
  'overrides, devices',
  [
    ({'model.scan_layers': False}, 1),
    ({'train.grad_accum': 2}, 1),
    ({'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2}, 8),
  ],
  ids=['unrolled', 'microbatches', 'sharded'],
)
def test_forms_of_one_program_choose_the_same_ranks(overrides, devices):
  wanted, _ = trained(build({'model.scan_layers': True}))
  found, _ = trained(build({'model.scan_layers': True} | overrides, devices))
  assert found.keys() == wanted.keys()
  for name, leaf in wanted.items():
    if name != 'embed/embedding':  # which a mesh pads
      np.testing.assert_allclose(found[name], leaf, atol=1e-4, err_msg=name)
    if name.endswith(allocation.E):
      np.testing.assert_array_equal(found[name] == 0, leaf == 0, err_msg=name)


def test_averages_lie_where_their_parameters_do():
  mesh = {'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2}
  state = build({'model.scan_layers': True} | mesh, 8).abstract_state
  params = dict(pytree.named_leaves(state.params))
  averages = pytree.named_leaves(state.opt_state.sensitivity)
  assert len(averages) == 3 * 6
  for name, leaf in averages:
    assert leaf.sharding == params[name].sharding
  assert not params['layers/block_0/mlp/up/adalora_q'].sharding.is_fully_replicated


def test_only_what_trains_has_averages_and_gradients():
  program = build()
  trains = trainable.select(program.abstract_state.params, program.frozen)
  assert {name.rpartition('/')[2] for name, _ in pytree.named_leaves(trains)} == {
    allocation.P, allocation.E, allocation.Q,
  }  # fmt: skip


@pytest.mark.parametrize(
  'overrides, expected',
  [
    ({'target_rank': 5}, r'target_rank=5: above peft\.options\.initial_rank=4'),
    ({'initial_rank': 33}, r'initial_rank=33: more than .* 32 x 32 can have'),
    ({'warmup_steps': 6}, r'warmup_steps=6, .*final_steps=2: leave none of the 8'),
    ({'targets': 'quary'}, r"the nearest is 'query'"),
  ],
)
def test_what_cannot_be_is_told(overrides, expected):
  given = {f'peft.options.{name}': value for name, value in overrides.items()}
  with pytest.raises(ConfigError, match=expected):
    build(given)


@pytest.mark.slow
def test_a_resumed_run_chooses_the_same_ranks(tmp_path):
  base, whole, parts = (tmp_path / name for name in ('base', 'whole', 'parts'))
  shape = {'model.scan_layers': False, 'eval.every_steps': 0}
  loop.train(tiny_runs.tiny_config(shape | {'train.steps': 2}), base, quiet=True)
  config = tiny_runs.tiny_config(
    ADALORA | shape | {
      'init_from': str(base), 'checkpoint.every_steps': 5, 'logging.figures': True,
      'train.batch_size': 16,
    }
  )  # fmt: skip
  loop.train(config, whole, quiet=True)
  tiny_runs.train_until_crash(config, parts, 5)
  loop.train(config, parts, quiet=True)
  assert tiny_runs.start_steps(parts) == [0, 5]
  one, other = (tiny_runs.saved_arrays(folder) for folder in (whole, parts))
  tiny_runs.assert_same(one, other)
  assert any("'sensitivity'" in name or '.sensitivity' in name for name in one)
  assert tiny_runs.lines(whole)[-1] == tiny_runs.lines(parts)[-1]
  ranks = {
    name: values[-1]
    for name, values in metrics_file.read(Workdir(whole).metrics).items()
    if name.startswith('ranks/')
  }
  assert len(ranks) == MATRICES
  assert {step for step, _ in ranks.values()} == {STEPS}
  assert sum(rank for _, rank in ranks.values()) == 2 * MATRICES
  picture = Workdir(whole).figures / 'ranks.png'
  assert picture.read_bytes().startswith(b'\x89PNG')
