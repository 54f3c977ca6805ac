"""The cases of step, forward pass and loader are those of training."""

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.benchmarks import timing, training
from gpt_jax.benchmarks.workload import make_workload
from gpt_jax.data import loader
from gpt_jax.planning import inputs
from gpt_jax.program.build import build_program
from tests import tiny_runs
from tests.benchmarks.small_workloads import make_timed


def test_the_step_is_the_programs_and_updates_the_state(timed):
  expected = timed.program.init(timed.config.seed)
  for _ in range(3):
    expected, metrics = timed.program.step(expected, timed.batch)
  (case,) = training.step(timed)
  case.run(2)
  case.run(1)
  assert int(timed.state.step) == 3
  tiny_runs.assert_same(
    tiny_runs.named(timed.state.params), tiny_runs.named(expected.params)
  )
  assert timed.first_loss['gpt_jax'] == pytest.approx(np.log(16), rel=0.2)
  assert case.tokens == 8 * 16
  assert case.memory_gib > 0


def test_the_forward_pass_keeps_the_state(timed):
  (step_case,), (case,) = training.step(timed), training.forward(timed)
  case.run(2)
  assert int(timed.state.step) == 0
  step_case.run(1)
  case.run(1)  # with the parameters that the step has left
  assert case.flops == step_case.flops / 3


@pytest.mark.slow
def test_kernels_of_four_bits_are_timed(tmp_path, caplog):
  fields = {'peft.name': 'lora', 'peft.options.rank': 2, 'peft.base_storage': 'nf4'}
  timed = make_timed(tmp_path, fields)
  (step_case,), (case,) = training.step(timed), training.forward(timed)
  with jax.log_compiles():
    step_case.run(2)
    case.run(1)
  assert int(timed.state.step) == 2
  assert 'Compiling' not in caplog.text  # what was compiled before is timed


@pytest.mark.slow
def test_references_are_those_of_the_present_state(tmp_path):
  distilled = {'objective.name': 'tests.program.test_forward:distilled'}
  config = tiny_runs.tiny_config(
    {'model.num_layers': 1, 'model.vocab_size': 16} | distilled
  )
  references = {'teacher': config}
  vocab = objectives.Vocab(16)
  program = build_program(config, vocab=vocab, reference_configs=references)
  shapes = inputs.abstract_batch(program)
  workload = make_workload(program, shapes, num_ids=16, workdir=tmp_path)
  (step_case,), (case,) = training.step(workload), training.forward(workload)
  step_case.run(1)
  case.run(1)


def test_a_step_without_memory_is_skipped(timed, monkeypatch):
  def compiled(lowered):
    raise RuntimeError('RESOURCE_EXHAUSTED: 99 GiB')

  monkeypatch.setattr(timing, 'compiled', compiled)
  for entry in (training.step, training.forward):
    (skipped,) = entry(timed)
    assert 'no memory' in skipped.reason


def test_the_loader_reads_new_batches_of_the_runs_data(timed, monkeypatch):
  read = []
  usual = loader.Loader._read

  def reading(self, ranges):
    read.append(list(ranges))
    yield from usual(self, read[-1])

  monkeypatch.setattr(loader.Loader, '_read', reading)
  (case,) = training.loader(timed)
  case.run(3)
  case.run(1)
  assert read == [[(0, 8), (8, 8), (16, 8)], [(8, 8)]]
  assert case.tokens == 8 * 16
