"""The cases of step, forward pass and loader are those of training."""

import numpy as np
import pytest

from gpt_jax.benchmarks import timing, training
from gpt_jax.data import loader
from tests import tiny_runs


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
