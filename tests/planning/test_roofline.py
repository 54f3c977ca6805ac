"""The roofline of a plan: its points, and a PNG that is drawn."""

import types

import numpy as np
import pytest
from matplotlib import figure, text

from gpt_jax.core.errors import ConfigError
from gpt_jax.hlo import costs
from gpt_jax.hlo import types as hlo_types
from gpt_jax.parallel import chips
from gpt_jax.planning import roofline, topologies
from gpt_jax.planning.plan import Compiled
from gpt_jax.planning.step_time import OpClass

V5E = chips.TPUS['v5e']


def op(name, kind, flops, cycles, hbm_bytes):
  return hlo_types.Op(name, f'jit(f)/mlp/{name}', kind, flops, cycles, hbm_bytes)


@pytest.fixture
def compiled():
  ops = (
    (op('up', hlo_types.MATMUL, 10**9, 15_000, 10**6), 12),
    (op('add', hlo_types.ELEMENTWISE, 0, 9_000, 10**6), 12),
    (op('chip', hlo_types.MATMUL, 10**9, 10_000, 0), 1),
  )
  classes = tuple(
    OpClass(kind, ms, tflops=0.0, hbm_gib=0.01)
    for kind, ms in ((hlo_types.MATMUL, 0.13), (hlo_types.ELEMENTWISE, 0.07))
  )
  plan = types.SimpleNamespace(
    topology='v5e:1x1',
    tokens_per_step=8,
    time=types.SimpleNamespace(classes=classes, step_ms_bound=0.3, mfu_bound=0.2),
    network=types.SimpleNamespace(network_ms=0.2, exposed_network_ms=0.1),
  )
  return Compiled(plan, costs.Costs(ops, (), 0))


def test_points_are_matmuls_with_their_time_in_a_step(compiled):
  first, second = roofline.points(compiled.costs, V5E)
  assert first[:2] == ('mlp/up', hlo_types.MATMUL)
  assert first[2] == 1000  # FLOPs a byte
  assert first[3] == pytest.approx(10**9 / (15_000 / V5E.clock_hz))
  assert first[4] == pytest.approx(12 * 15_000 / V5E.clock_hz * 1e3)
  assert second[0] == 'mlp/chip'


def test_a_png_is_drawn(compiled, tmp_path):
  path = tmp_path / 'roofline.png'
  roofline.draw(compiled, types.SimpleNamespace(chip=V5E, name='v5e:1x1'), path)
  assert path.read_bytes().startswith(b'\x89PNG')
  assert path.stat().st_size > 10_000


def test_each_number_has_a_line_to_its_own_dot(compiled, monkeypatch):
  drawn = []
  monkeypatch.setattr(
    figure.Figure, 'savefig', lambda self, *_, **__: drawn.append(self)
  )
  roofline.draw(compiled, types.SimpleNamespace(chip=V5E, name='v5e:1x1'), 'x.png')
  axis = drawn[0].axes[0]
  numbers = [each for each in axis.texts if isinstance(each, text.Annotation)]
  spots = [point[2:4] for point in roofline.points(compiled.costs, V5E)]
  assert [each.get_text() for each in numbers] == ['1', '2']
  assert numbers[0].xy == pytest.approx((spots[0][0], spots[0][1] / 1e12))
  assert all(each.arrow_patch is not None for each in numbers)
  places = [axis.transData.transform(n.xy) + n.xyann for n in numbers]
  assert np.hypot(*(places[0] - places[1])) > 20


def test_a_plan_without_times_is_not_drawn(compiled, tmp_path):
  with pytest.raises(ConfigError, match='estimates no times'):
    roofline.draw(compiled, topologies.parse('cpu'), tmp_path / 'x.png')
  topology = types.SimpleNamespace(chip=V5E, name='v5e:1x1')
  with pytest.raises(ConfigError, match='does not fit'):
    roofline.draw(Compiled(compiled.plan, None), topology, tmp_path / 'x.png')
