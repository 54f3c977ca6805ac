"""Search: arithmetic first, then compilations, and a reason for every failure."""

import json
import shlex
import types

import optax
import pytest

from configs import base
from gpt_jax.core.errors import ConfigError
from gpt_jax.optimizers import elementwise
from gpt_jax.parallel import chips
from gpt_jax.planning import search, topologies
from gpt_jax.program import setup
from tests import tiny_runs


def resolver(**fixed):
  def resolve(more):
    return tiny_runs.tiny_config({'model.num_layers': 1} | fixed | more)

  return resolve


@pytest.fixture(scope='module')
def rows():
  seen = []

  def progress(items, total):
    for item in items:
      seen.append(total)
      yield item

  found = search.search(
    resolver(),
    topologies.parse('cpu:8'),
    axes=('batch', 'mesh'),
    max_compiles=2,
    progress=progress,
  )
  assert seen == [2, 2]
  return found


@pytest.mark.slow
def test_max_compiles_holds_and_the_fastest_comes_first(rows):
  compiled = [row for row in rows if row.plan]
  assert len(compiled) == 2
  rates = [row.plan.time.tokens_per_second_bound for row in compiled]
  assert rates == sorted(rates, reverse=True)
  assert rows[0].outcome == 'fits'
  assert any(row.outcome == 'not compiled' for row in rows)


@pytest.mark.slow
def test_an_impossible_candidate_is_a_row_with_its_reason(rows):
  reasons = {row.reason for row in rows if row.outcome == 'ruled out'}
  assert any('do not divide over 8 data shards' in reason for reason in reasons)


@pytest.mark.slow
def test_flags_of_a_row_give_its_config(rows):
  row = rows[0]
  words = [word.removeprefix('--config.') for word in shlex.split(row.flags)]
  overrides = dict(word.split('=') for word in words)
  config = tiny_runs.tiny_config(overrides)
  assert config.train.batch_size == row.plan.batch_size
  assert config.parallel.mesh == row.plan.mesh
  assert json.loads(json.dumps(row.to_dict()))['outcome'] == 'fits'


def test_flags_are_quoted_for_a_shell():
  overrides = {'model.layer_pattern': ('global', 'local:4'), 'data.path': 'a b'}
  row = search.Row(overrides, outcome='fits')
  assert shlex.split(row.flags) == [
    "--config.model.layer_pattern=('global', 'local:4')", '--config.data.path=a b',
  ]  # fmt: skip


@pytest.mark.slow
def test_every_combination_has_a_row(rows):
  config, topology = resolver()({}), topologies.parse('cpu:8')
  sizes = [len(search.AXES[axis](config, topology)) for axis in ('batch', 'mesh')]
  assert len(rows) == sizes[0] * sizes[1]


def test_meshes_use_all_devices_and_start_with_the_config():
  config = resolver(**{'parallel.mesh': dict(data=2, fsdp=2, tensor=2)})({})
  found = [
    each['parallel.mesh'] for each in search.meshes(config, topologies.parse('cpu:8'))
  ]
  assert found[0] == dict(data=2, fsdp=2, sequence=1, tensor=2, expert=1)
  assert dict(data=8, fsdp=1, sequence=1, tensor=1, expert=1) in found
  assert all(mesh['tensor'] <= config.model.num_heads for mesh in found)
  assert len({tuple(mesh.items()) for mesh in found}) == len(found)


@pytest.mark.slow
def test_an_invalid_config_is_a_row():
  def resolve(more):
    if more.get('model.remat') == 'full':
      raise ConfigError('2 problem(s):\n  one\n  model.remat: not today')
    return resolver()(more)

  topology = topologies.parse('cpu')
  found = search.search(resolve, topology, axes=('remat',), max_compiles=1)
  (refused,) = (row for row in found if row.outcome == 'refused')
  assert refused.reason == 'model.remat: not today'


def test_a_step_that_fails_to_build_is_a_row(monkeypatch):
  def fail(config, topology):
    raise ConfigError('parallel: no')

  monkeypatch.setattr(search, 'make_plan', fail)
  found = search.search(
    resolver(), topologies.parse('cpu'), axes=('scan',), max_compiles=9
  )
  assert {(row.outcome, row.reason) for row in found} == {('refused', 'parallel: no')}


def big(**overrides):
  settings = {
    'model.num_layers': 12, 'model.d_model': 768, 'model.num_heads': 12,
    'model.vocab_size': 50304, 'data.seq_len': 1024, 'model.dtype': 'bfloat16',
    'train.batch_size': 32,
  }  # fmt: skip
  return setup.resolve(base.get_config(), settings | overrides)


class Chips:
  """What a search asks of a slice, without libtpu."""

  def __init__(self, count, chip='v5e'):
    self.devices, self.chip, self.num_slices = [None] * count, chips.TPUS[chip], 1


GPT2 = search.StateSizes(124_000_000, 16 * 124e6 / 2**30)


OPTIMIZERS = {  # float32 numbers that are kept for each parameter, gradient included
  'adamw': 4, 'lion': 3, 'sgd': 3, 'plug-in': 4,
}  # fmt: skip


def adam_of_my_own(cfg, names):
  return optax.scale_by_adam(), elementwise.one_rate(cfg, names)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_the_program_says_what_its_optimizer_keeps(name):
  entry = f'{__name__}:adam_of_my_own' if name == 'plug-in' else name
  config = tiny_runs.tiny_config({'optimizer.name': entry})
  sizes = search.state_sizes(config, topologies.parse('cpu'))
  kept = OPTIMIZERS[name] * 4 * sizes.parameters
  assert sizes.gib * 2**30 == pytest.approx(kept, rel=1e-3)  # and counts of steps


def test_frozen_parameters_keep_neither_moments_nor_gradients():
  groups = (dict(match='final_norm', weight_decay=0.0), dict(match='.*', freeze=True))
  config = tiny_runs.tiny_config({'optimizer.groups': groups})
  sizes = search.state_sizes(config, topologies.parse('cpu'))
  norm = 3 * 4 * config.model.d_model
  assert sizes.gib * 2**30 == pytest.approx(4 * sizes.parameters + norm, abs=64)


def test_arithmetic_rules_out_what_cannot_fit():
  assert search.impossible(big(), Chips(4), GPT2) == ''
  reason = search.impossible(
    big(**{'train.batch_size': 512, 'model.remat': 'none'}), Chips(4), GPT2
  )
  assert reason.startswith('needs more than') and reason.endswith('of 16 GiB')
  wide = big(**{'parallel.mesh': dict(tensor=8, data=1)})
  assert 'num_kv_heads=12 does not divide over tensor=8' in search.impossible(
    wide, Chips(8), GPT2
  )


def test_batches_larger_than_a_failed_one_are_skipped(monkeypatch):
  tried = []

  def short(config, topology):
    tried.append(config.train.batch_size)
    memory = types.SimpleNamespace(fits=False, short_gib=2.5)
    return types.SimpleNamespace(memory=memory, time=None, to_dict=dict)

  monkeypatch.setattr(search, 'make_plan', short)
  # The estimate of a CPU is the same for all sizes: they keep their order.
  found = search.search(
    resolver(), topologies.parse('cpu'), axes=('batch',), max_compiles=9
  )
  assert len(tried) == 1
  outcomes = [row.outcome for row in found]
  assert outcomes == ['does not fit', 'ruled out', 'ruled out', 'ruled out']
  assert found[0].reason == 'short by 2.50 GiB or more'


def test_less_communication_has_a_better_estimate():
  replicated = search.estimate(big(), Chips(4), GPT2.parameters)
  meshed = big(**{'parallel.mesh': dict(data=1, tensor=4)})
  sharded = search.estimate(meshed, Chips(4), GPT2.parameters)
  assert replicated > sharded
  again = search.estimate(big(**{'model.remat': 'full'}), Chips(4), GPT2.parameters)
  assert replicated > again
