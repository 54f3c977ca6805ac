"""Plans: exact memory and FLOPs, and bounds on time, for local and absent devices."""

import dataclasses
import importlib.util
import json
import math

import jax
import pytest

from gpt_jax import planning
from gpt_jax.core import pytree
from gpt_jax.hlo import costs as hlo_costs
from gpt_jax.hlo import types
from gpt_jax.model import flops
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs, memory, topologies
from gpt_jax.planning import plan as plans
from gpt_jax.program import trained_sizes
from tests import tiny_runs

FIELDS = {
  'fits', 'memory_gib_per_chip', 'compute_ms', 'kernel_ms', 'collective_bytes',
  'step_ms_bound', 'mfu_bound',
}  # fmt: skip
SHARDED = {'parallel.mesh': dict(data=2, fsdp=4), 'data.source': 'python_docs'}


def config(overrides=None):
  return tiny_runs.tiny_config(overrides)


def analytic_flops(cfg, plan):
  """Returns the FLOPs of a step on all devices, by arithmetic."""
  model = dataclasses.replace(cfg.model, vocab_size=16)  # of the synthetic language
  return flops.flops_per_token(model, cfg.data.seq_len) * plan.tokens_per_step


@pytest.fixture(scope='module')
def plan():
  return planning.make_plan(config(SHARDED), topologies.parse('cpu:8'))


def test_compiled_flops_equal_the_analytic_ones(tmp_path):
  cfg, path = config({'model.scan_layers': True}), tmp_path / 'step.hlo'
  arrays = len(jax.live_arrays())
  one = planning.make_plan(cfg, topologies.parse('cpu'), dump_hlo=path)
  assert one.time.matmul_flops_per_chip == analytic_flops(cfg, one)
  assert one.time.unknown_trip_counts == 0
  assert one.network.collectives == ()
  # Anyone can check the numbers with the text.
  costs = hlo_costs.measure(path.read_text())
  assert costs.matmul_flops == one.time.matmul_flops_per_chip
  # Nothing of the run was put on a device; two matrices measured the peak.
  assert len(jax.live_arrays()) <= arrays + 2


def test_memory_of_a_device_is_its_share(plan):
  classes = plan.memory.gib_by_class
  expected_batch = 8 * 17 * 4 / 8 / 2**30
  assert classes['batch'] == pytest.approx(expected_batch)
  # Matrices are sharded over four, norms are replicated: a little above a quarter.
  total = plan.parameters * 4 / 2**30
  assert total / 4 <= classes['parameters'] < total / 3.5
  assert classes['optimizer'] == pytest.approx(2 * classes['parameters'], rel=1e-2)
  assert classes['average'] == 0
  assert plan.memory.total_gib == pytest.approx(
    math.fsum(gib for name, gib in classes.items() if name != 'code')
  )
  assert plan.memory.fits
  assert plan.memory.short_gib == 0


@pytest.mark.slow
def test_full_remat_saves_most_activations():
  layers = {'model.num_layers': 4, 'model.scan_layers': True, 'data.seq_len': 64}
  plans = {
    remat: planning.make_plan(
      config(layers | {'model.remat': remat}), topologies.parse('cpu')
    )
    for remat in ('none', 'full')
  }
  saved = {name: p.memory.gib_by_class['activations'] for name, p in plans.items()}
  # At least the inputs of the four layers: 8 rows of 64 tokens in float32.
  inputs_gib = 4 * 8 * 64 * tiny_runs.tiny_config().model.d_model * 4 / 2**30
  assert inputs_gib <= saved['full'] < saved['none'] / 2
  largest = plans['none'].memory.largest_buffers
  assert [b.gib for b in largest] == sorted([b.gib for b in largest])[::-1]
  assert len(largest) == memory.LARGEST
  assert any(b.kind == 'activation' and b.source for b in largest)


def test_text_that_jax_cannot_parse_comes_from_the_dump(tmp_path):
  class Executable:
    def as_text(self):
      raise jax.errors.JaxRuntimeError('INTERNAL: 1 operands but sees 2')

  (tmp_path / 'module_0.f.after_codegen.txt').write_text('HloModule f')
  (tmp_path / 'module_0.f.before_optimizations.txt').write_text('HloModule early')
  assert plans._text(Executable(), tmp_path) == 'HloModule f'


def test_collectives_have_a_kind_and_mesh_axes(plan):
  assert {axis for each in plan.network.collectives for axis in each.axes} >= {'fsdp'}
  assert set(plan.network.collective_bytes) == {
    each.kind for each in plan.network.collectives
  }
  gathered = sum(e.bytes for e in plan.network.collectives if e.kind == 'all-gather')
  assert plan.network.collective_bytes['all-gather'] == gathered > 0


def test_bounds_follow_from_one_another(plan):
  assert plan.time.step_ms_bound == pytest.approx(
    plan.time.compute_ms
  )  # no network on CPUs
  per_day = plan.tokens_per_step / plan.time.step_ms_bound * 1e3 * 86400
  assert plan.time.tokens_per_day_bound == pytest.approx(per_day)
  total = plan.steps * plan.tokens_per_step
  assert plan.time.days_bound == pytest.approx(total / per_day)
  assert plan.time.chip_hours_bound == pytest.approx(plan.time.days_bound * 24 * 8)
  assert 0 < plan.time.mfu_bound < 2


def test_a_plan_is_json(plan):
  values = json.loads(json.dumps(plan.to_dict()))
  assert FIELDS <= values.keys()
  assert values['collectives'][0].keys() >= {'kind', 'axes', 'wire_bytes'}


OVER_A_BASE = {
  'init_from': 'a base that need not be there', 'model.num_layers': 3,
  'model.scan_layers': False, 'model.tie_embeddings': False,
  'attention.kernel': 'dense',
}  # fmt: skip
ADAPTERS = {
  'lora': {'peft.name': 'lora', 'peft.options.rank': 2},
  'nf4': {'peft.name': 'lora', 'peft.options.rank': 2, 'peft.base_storage': 'nf4'},
  'last_layers': {'peft.name': 'last_layers', 'peft.options.layers': 1},
}


@pytest.mark.parametrize('name', tiny_runs.mostly_slow(list(ADAPTERS), 'nf4'))
def test_sizes_with_an_adapter_are_those_of_the_program(name):
  cfg = config(OVER_A_BASE | ADAPTERS[name])
  one = planning.make_plan(cfg, topologies.parse('cpu'))
  mesh = make_mesh(cfg.parallel.mesh, jax.devices()[:1])
  program = inputs.make_program(cfg, mesh)
  state = program.init(0)
  trained = program.trained(state.params)
  kept = state.opt_state, state.loss_history
  classes = {name: gib * 2**30 for name, gib in one.memory.gib_by_class.items()}
  assert one.trained.now.parameters == pytree.count(trained)
  assert classes['parameters'] == pytree.size_bytes(trained)
  assert classes['optimizer'] == pytree.size_bytes(state.opt_state)
  assert one.trained.now.optimizer == pytree.size_bytes(state.opt_state)
  # None of these methods adds parameters that stay frozen, which would be saved too.
  assert one.trained.now.checkpoint == pytree.size_bytes((trained, kept))
  leaves = dict(pytree.named_leaves(state.params))
  frozen = pytree.size_bytes([leaves[each] for each in program.frozen])
  assert classes['frozen'] == frozen == one.trained.frozen
  # Of a frozen kernel nothing but its forward pass, and the way to what trains.
  analytic = one.time.analytic_flops_per_chip
  assert analytic == pytest.approx(one.time.matmul_flops_per_chip)
  assert analytic < analytic_flops(cfg, one)


def test_kernels_in_nf4_take_the_bits_of_their_format():
  program = inputs.make_program(config(OVER_A_BASE | ADAPTERS['nf4']))
  D, V, L = 32, 16, 3
  bits = L * sum(
    4 * fan_in * fan_out + 8 * math.ceil(fan_in / 64) * fan_out + 32 * fan_out
    for fan_in, fan_out in [*4 * [(D, D)], (D, 4 * D), (4 * D, D)]
  )
  others = (2 * V * D + (2 * L + 1) * D) * 32  # embedding, head and norms
  assert trained_sizes.of_program(program).frozen == (bits + others) / 8


@pytest.mark.extra
@pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="needs libtpu: pip install -e '.[plan]'",
)
@pytest.mark.slow
class TestWithLibtpu:
  def test_an_absent_slice_is_planned(self):
    cfg = config({'parallel.mesh': dict(fsdp=-1), 'model.scan_layers': True})
    plan = planning.make_plan(cfg, topologies.parse('v5e:2x2'))
    assert plan.memory.fits
    assert 0 < plan.memory.total_gib < plan.memory.hbm_gib == 16
    assert plan.time.unknown_trip_counts == 0
    assert plan.time.compute_ms > 0
    share = analytic_flops(cfg, plan) / 4
    assert plan.time.matmul_flops_per_chip == pytest.approx(share, rel=0.05)
    assert plan.network.network_ms > 0

  @pytest.mark.parametrize('storage', ['int8', 'nf4'])
  def test_a_slice_gathers_codes(self, storage):
    cfg = config({
      'parallel.mesh': dict(fsdp=-1), 'model.remat': 'full', 'model.d_model': 256,
      'model.d_ff': 1024, 'peft.name': 'lora', 'peft.base_storage': storage,
    })  # fmt: skip
    plan = planning.make_plan(cfg, topologies.parse('v5e:2x2'))
    assert plan.memory.fits
    assert 0 < plan.time.step_ms_bound < 1_000

  def test_slices_exchange_their_gradients(self):
    cfg = config({'parallel.mesh': dict(data=2, fsdp=4)})
    plan = planning.make_plan(cfg, topologies.parse('2xv5e:2x2'))
    # Every device exchanges at least its share of the gradient, in 16 bits or more.
    share = 2**30 * plan.memory.gib_by_class['parameters']
    assert plan.network.collective_bytes[types.BETWEEN_SLICES] >= share / 2

  def test_a_step_that_does_not_fit_has_a_shortage(self):
    cfg = config({'train.batch_size': 2**21, 'eval.batch_size': 8})
    plan = planning.make_plan(cfg, topologies.parse('v5e:1x1'))
    assert not plan.memory.fits
    assert plan.memory.short_gib > 0
    assert plan.time is None
    assert plan.to_dict()['step_ms_bound'] is None
    assert json.dumps(plan.to_dict())
