"""Costs of ways of fine-tuning, against formulas, on the steps that training takes."""

import gc

import jax
import numpy as np
import pytest

from gpt_jax.benchmarks import peft_costs, timing
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import linears
from gpt_jax.program import trained_sizes
from gpt_jax.program.base import Base
from tests import tiny_runs
from tests.benchmarks.small_workloads import make_timed

# One short row, or activations would hide what the optimizer keeps.
SMALL = tiny_runs.ONE_LAYER | {
  'model.d_model': 64, 'train.batch_size': 1, 'optimizer.name': 'adamw',
}  # fmt: skip


@pytest.fixture(scope='module')
def workload(tmp_path_factory):
  return make_timed(tmp_path_factory.mktemp('bench'), SMALL)


@pytest.fixture(scope='module')
def cases(workload):
  return peft_costs.cases(workload, ['full', 'lora_4', 'bitfit', 'qlora'])


def maps(workload):
  return linears.find(workload.config.model)


def test_lora_trains_rank_times_both_sizes(workload, cases):
  full, lora, *_ = cases
  sides = sum(linear.fan_in + linear.fan_out for linear in maps(workload))
  assert lora.details.trained == 4 * sides
  assert full.details.trained == pytree.count(workload.program.parameters)
  assert lora.details.optimizer_bytes == pytest.approx(2 * 4 * 4 * sides, abs=16)


def test_each_rank_has_its_number(workload):
  sides = sum(linear.fan_in + linear.fan_out for linear in maps(workload))
  for rank in (1, 16):
    program = peft_costs.make_program(workload, f'lora_{rank}')
    assert trained_sizes.of_program(program).now.parameters == rank * sides


def test_full_fine_tuning_needs_the_most_memory(cases):
  full, lora, _, qlora = cases
  assert full.memory_gib > lora.memory_gib
  assert full.details.state_gib > lora.details.state_gib > qlora.details.state_gib
  for case in (full, lora, qlora):
    costs = case.details
    assert case.memory_gib == costs.state_gib + costs.temporaries_gib
    assert costs.state_gib * 2**30 > costs.optimizer_bytes


def test_the_checkpoint_is_what_a_run_saves(workload, cases):
  program = peft_costs.make_program(workload, 'lora_4')
  sources = {name: name for name in program.frozen}
  items = program.abstract_state.replace(step=None, seed=None).as_items()
  saved = Base('', 0, 'float32', sources, {}).saved(items)
  assert cases[1].details.checkpoint_bytes == pytree.size_bytes(saved)


def test_what_does_not_fit_is_skipped_with_the_reason(cases):
  skipped = cases[2]
  assert isinstance(skipped, timing.Skipped)
  assert skipped.name == 'peft/bitfit'
  assert 'this model has none (model.bias=False)' in skipped.reason


def test_nothing_left_to_time_is_an_error(workload):
  with pytest.raises(ConfigError, match='peft/bitfit: .* has none'):
    peft_costs.cases(workload, ['bitfit'])


def test_a_state_is_the_programs_own(workload):
  program = peft_costs.make_program(workload, 'qlora')
  state = peft_costs.make_states(program, peft_costs.make_base(workload))()
  expected = program.init(workload.config.seed)
  assert jax.tree.structure(state) == jax.tree.structure(expected)
  for (name, leaf), (_, other) in zip(
    pytree.named_leaves(state), pytree.named_leaves(expected), strict=True
  ):
    assert leaf.dtype == other.dtype, name
    # Scales of stored kernels round otherwise where they are compiled with those.
    np.testing.assert_allclose(np.float32(leaf), np.float32(other), 1e-4, err_msg=name)
    assert leaf.sharding == other.sharding


def test_a_step_is_compiled_once_and_runs(cases, caplog):
  *_, qlora = cases
  with jax.log_compiles(), qlora.around():
    qlora.run(2)
  assert 'Compiling jit(<lambda>)' in caplog.text  # what makes the state
  assert 'Compiling jit(update)' not in caplog.text


@pytest.mark.slow
def test_steps_leave_the_base_and_nothing_else(workload):
  program = peft_costs.make_program(workload, 'full')
  base = peft_costs.make_base(workload)
  before = {name: np.array(leaf) for name, leaf in base.items()}
  make_state = peft_costs.make_states(program, base)
  steps = peft_costs.Steps(program.step, workload.batch, make_state)
  with steps.fresh():
    steps.run(1)
  held = live_bytes()
  with steps.fresh():
    assert live_bytes() > held
    steps.run(2)
  assert live_bytes() == held
  tiny_runs.assert_same(before, {name: np.array(leaf) for name, leaf in base.items()})


def live_bytes():
  gc.collect()
  return sum(array.nbytes for array in jax.live_arrays())


def test_the_ratio_is_that_of_single_rounds():
  costs = peft_costs.Costs(1, 0.0, 0.0, 0, 0)
  cases = [
    timing.Case(name, print, details=details)
    for name, details in (('peft/full', costs), ('peft/ia3', costs), ('step', None))
  ]
  seconds = {'peft/full': [1.0, 8.0, 2.0], 'peft/ia3': [2.0, 4.0, 1.0], 'step': [1.0]}
  found = peft_costs.by_label(cases, seconds)
  assert list(found) == ['full', 'ia3']
  assert found['ia3']['step_ratio']['median'] == 0.5
  del seconds['peft/full']
  assert peft_costs.by_label(cases[1:], seconds)['ia3']['step_ratio'] is None
