"""The roofline: no dot above the roof, and a picture that is one."""

import types

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.hlo import costs
from gpt_jax.hlo import types as hlo_records
from gpt_jax.parallel import chips
from gpt_jax.planning import roofline, topologies
from gpt_jax.planning.plan import Compiled, Plan
from gpt_jax.planning.step_time import StepTime

V5E = chips.TPUS['v5e']


def op(name, kind, flops, cycles, hbm_bytes):
  return hlo_records.Op(name, f'jit(f)/mlp/{name}', kind, flops, cycles, hbm_bytes)


@pytest.fixture
def compiled():
  ops = (
    (op('up', hlo_records.MATMUL, 10**9, 15_000, 10**6), 12),
    (op('add', hlo_records.ELEMENTWISE, 0, 9_000, 10**6), 12),
    (op('chip', hlo_records.MATMUL, 10**9, 10_000, 0), 1),
  )
  classes = tuple(
    dict(kind=kind, ms=ms, tflops=0.0, hbm_gib=0.01)
    for kind, ms in ((hlo_records.MATMUL, 0.13), (hlo_records.ELEMENTWISE, 0.07))
  )
  plan = Plan(
    topology='v5e:1x1', device_kind='TPU v5e', num_devices=1, mesh={}, loss='plain',
    attention_kernel='dense', remat='none', parameters=1, batch_size=1,
    tokens_per_step=8, steps=1, fits=True, hbm_gib_per_chip=16, memory_gib_per_chip=1.0,
    short_gib_per_chip=0.0, memory_gib_by_class={}, classes=classes, network_ms=0.2,
    exposed_network_ms=0.1, step_ms_bound=0.3, mfu_bound=0.2,
  )  # fmt: skip
  return Compiled(plan, StepTime({}, costs.Costs(ops, (), 0), {}))


def test_dots_are_products_with_their_time_in_a_step(compiled):
  first, second = roofline.points(compiled, V5E)
  assert first[:2] == ('mlp/up', hlo_records.MATMUL)
  assert first[2] == 1000  # FLOPs a byte
  assert first[3] == pytest.approx(10**9 / (15_000 / V5E.clock_hz))
  assert first[4] == pytest.approx(12 * 15_000 / V5E.clock_hz * 1e3)
  assert second[0] == 'mlp/chip'


def test_a_picture_is_drawn(compiled, tmp_path):
  path = tmp_path / 'roofline.png'
  roofline.draw(compiled, types.SimpleNamespace(chip=V5E, name='v5e:1x1'), path)
  assert path.read_bytes().startswith(b'\x89PNG')
  assert path.stat().st_size > 10_000


def test_without_times_there_is_nothing_to_draw(compiled, tmp_path):
  with pytest.raises(ConfigError, match='estimates no times'):
    roofline.draw(compiled, topologies.parse('cpu'), tmp_path / 'x.png')
  topology = types.SimpleNamespace(chip=V5E, name='v5e:1x1')
  with pytest.raises(ConfigError, match='does not fit'):
    roofline.draw(Compiled(compiled.plan, None), topology, tmp_path / 'x.png')
