"""The points of a study priced: shared programs, totals, points that cannot run."""

import dataclasses
import importlib.util
import pathlib

import jax
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.execution import pricing
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs, topologies
from gpt_jax.planning import plan as plans
from gpt_jax.sweeps import points, product, vary
from tests import tiny_runs
from tests.sweeps import fake_study

SAME = (
  {'seed': 3},
  {'optimizer.learning_rate': 0.5, 'optimizer.b2': 0.99, 'optimizer.eps': 1e-6},
  {'train.steps': 60},
  {'schedule.final_fraction': 0.2, 'optimizer.weight_decay': 0.3},
  {'optimizer.clip_norm': 3.0, 'model.norm_eps': 1e-3},
  {'data.source': 'uniform', 'eval.every_steps': 0, 'checkpoint.keep_last': 1},
)
OTHER = (
  {'model.d_model': 64},
  {'optimizer.weight_decay': 0.0},
  {'optimizer.clip_norm': 0.0},
  {'optimizer.ema_decay': 0.9},
  {'model.dropout': 0.1},
  {'data.generator.vocab_size': 8},
  {'data.seq_len': 8},
  {'data.packing': 'first_fit'},
  {'train.batch_size': 4},
  {'objective.z_loss': 1e-4},
  {'model.block': 'parallel'},
  {'schedule.warmup_steps': 2},
)


def key(overrides=None):
  return pricing.program_key(tiny_runs.tiny_config(overrides))


@pytest.mark.parametrize('overrides', SAME, ids=str)
def test_points_that_differ_in_numbers_share_a_program(overrides):
  assert key(overrides) == key()


@pytest.mark.parametrize('overrides', OTHER, ids=str)
def test_what_changes_shapes_or_parts_is_another_program(overrides):
  assert key(overrides) != key()


@pytest.mark.slow
@pytest.mark.parametrize('overrides', SAME, ids=str)
def test_programs_that_are_shared_cost_the_same(overrides):
  topology = topologies.parse('cpu:2')
  one, other = (
    plans.compile_plan(tiny_runs.tiny_config(more), topology)
    for more in ({}, overrides)
  )
  for field in ('matmul_flops_per_chip', 'network_ms', 'wire_bytes'):
    assert one.plan.to_dict()[field] == other.plan.to_dict()[field]
  # XLA folds numbers into each other: a few operations more or less, on small arrays.
  sizes = [made.plan.memory.total_gib for made in (one, other)]
  assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


@pytest.fixture
def compiled(monkeypatch):
  """Returns the configs that were compiled; each takes as many ms as its layers."""
  seen = []

  @dataclasses.dataclass
  class Time:
    step_ms_bound: float

  @dataclasses.dataclass
  class Memory:
    fits: bool
    total_gib: float = 3.0
    hbm_gib: float = 2.0
    short_gib: float = 1.0

  @dataclasses.dataclass
  class Plan:
    time: Time
    memory: Memory
    tokens_per_step: int

  def compile_plan(config, topology, planned):
    seen.append(config)
    if config.model.num_heads == 4:
      raise ConfigError('parallel.mesh: heads do not divide.\nMore of it.')
    if config.model.num_heads == 8:
      raise jax.errors.JaxRuntimeError('INTERNAL: Mosaic failed')
    fits = config.model.num_heads != 1
    tokens = config.train.batch_size * config.data.seq_len
    plan = Plan(Time(config.model.num_layers), Memory(fits), tokens)
    return plans.Compiled(plan, None)

  monkeypatch.setattr(plans, 'compile_plan', compile_plan)
  return seen


def study(tmp_path, *axes):
  return fake_study.make(tmp_path, sweep=product(*axes), seeds=(0, 1))


def test_each_program_is_compiled_once_and_totals_are_sums(compiled, tmp_path):
  made = study(
    tmp_path, vary('model.num_layers', 1, 3), vary('train.steps', 10, 100),
    vary('optimizer.learning_rate', 1e-3, 1e-2, 1e-1),
  )  # fmt: skip
  topology = topologies.parse('cpu:2')
  found = pricing.price(made.points, topology)
  # Two depths; weight decay by row, steps and rates are numbers.
  assert len(found.points) == 48 and len(compiled) == len(found.plans) == 2
  assert [each.name for each in found.points] == [each.name for each in made.points]
  by_hand = 2 * 12 * (1 + 3) * (10 + 100) / 2 / 3.6e6 * 2
  assert found.chip_hours == pytest.approx(by_hand)
  assert found.chip_hours == pytest.approx(sum(p.chip_hours for p in found.points))
  assert found.hours == pytest.approx(by_hand / 2)
  assert not found.left_out


def test_points_that_cannot_run_have_a_reason_and_no_price(compiled, tmp_path):
  made = study(tmp_path, vary('model.num_heads', 1, 2, 4, 8))
  found = pricing.price(made.points, topologies.parse('cpu:2'))
  reasons = {each.reason for each in found.left_out}
  assert {reason.split(':')[0] for reason in reasons} == {
    'parallel.mesh', 'INTERNAL', 'does not fit',
  }  # fmt: skip
  assert not any('More of it' in reason for reason in reasons)
  assert len(found.left_out) == 12 and len(found.points) == 16
  priced = [each for each in found.points if each.chip_hours is not None]
  assert found.chip_hours == pytest.approx(sum(each.chip_hours for each in priced))
  assert [each.name for each in found.left_out] == [
    each.name for each in found.points if each.step_ms is None
  ]


def test_a_point_that_reads_another_finds_its_config(compiled, tmp_path, monkeypatch):
  seen = []
  monkeypatch.setattr(
    plans,
    'compile_plan',
    lambda config, topology, planned: (
      seen.append(planned) or plans.Compiled(None, None)
    ),
  )
  made = study(tmp_path, vary('model.d_model', 32))
  pricing.price(made.points, topologies.parse('cpu:2'))
  assert seen[0] == {str(point.workdir): point.config for point in made.points}


@pytest.mark.slow
def test_a_price_is_that_of_a_plan_of_its_own(tmp_path):
  made = fake_study.make(tmp_path, seeds=(0, 1), sweep=vary('train.steps', 5, 50))
  topology = topologies.parse('cpu:2')
  found = pricing.price(made.points, topology)
  assert len(found.plans) == 1 and len(found.points) == 8
  last = found.points[-1]
  alone = plans.make_plan(made.points[-1].config, topology)
  assert last.steps == alone.steps == 50
  assert found.plans[0].time.matmul_flops_per_chip == alone.time.matmul_flops_per_chip
  steps_hours = alone.time.step_ms_bound * 50 / 3.6e6 * 2
  assert alone.time.chip_hours_bound == pytest.approx(steps_hours)
  # On CPUs the peak is measured once a process: both have the same.
  assert last.chip_hours == pytest.approx(alone.time.chip_hours_bound)


EXPERIMENTS = pathlib.Path(__file__).parents[2] / 'experiments'


@pytest.mark.slow  # a minute together
@pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="needs libtpu: pip install -e '.[plan]'",
)
@pytest.mark.parametrize('path', sorted(EXPERIMENTS.glob('*.py')), ids=lambda p: p.stem)
def test_every_paper_size_can_be_built_on_its_machine(path, tmp_path):
  study = points.open_study(path, 'paper', tmp_path)
  machine = study.experiment.sizes['paper'].machine
  topologies.set_environment(machine)
  devices = topologies.parse(machine).devices
  configs = {str(point.workdir): point.config for point in study.points}
  first_of = {pricing.program_key(point.config): point for point in study.points}
  for point in first_of.values():
    mesh = make_mesh(point.config.parallel.mesh, devices)
    program = inputs.make_program(point.config, mesh, configs)
    assert inputs.abstract_batch(program)
