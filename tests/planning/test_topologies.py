"""Topologies: names become devices to compile for, or an error with a hint."""

import importlib.util

import jax
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import mesh as meshes
from gpt_jax.parallel.chips import of_kind
from gpt_jax.planning import topologies

needs_libtpu = [
  pytest.mark.extra,
  pytest.mark.skipif(
    importlib.util.find_spec('libtpu') is None,
    reason="needs libtpu: pip install -e '.[plan]'",
  ),
]


@pytest.mark.parametrize(
  'name, message',
  [
    ('v6:4x4', "called v6; expected one of v4, v5e, v5p, v6e, tpu7x.*mean 'v6e'"),
    ('h100:8', 'no TPU is called h100;.*the devices of this machine, cpu:N or gpu:N'),
    ('v5e', 'expected 2 sizes for v5e, such as v5e:2x2'),
    ('v5p:8x8', 'expected 3 sizes for v5p, such as v5p:2x2x1'),
    ('v5e:0x2', 'expected 2 sizes'),
    ('0xv5e:2x2', 'expected 2 sizes'),
    ('v5e:2x', 'expected CHIP:SHAPE'),
    ('', 'expected CHIP:SHAPE'),
    ('v5litepod-16', 'did you mean v5e:4x4'),
    ('cpu:none', 'expected cpu or cpu:N'),
    ('cpu:0', 'expected cpu or cpu:N'),
    ('cpu:99', 'has 8 CPU devices already'),
  ],
)
def test_an_invalid_topology_is_an_error_with_a_hint(name, message):
  with pytest.raises(ConfigError, match=message):
    topologies.parse(name)


def test_cpus_are_the_devices_of_this_machine():
  assert topologies.parse('cpu').devices == tuple(jax.devices()[:1])
  eight = topologies.parse('cpu:8')
  assert eight.devices == tuple(jax.devices())
  assert eight.chip is None
  assert eight.num_chips == 8
  assert {eight.slice_of(device) for device in eight.devices} == {0}


def test_without_libtpu_the_error_names_the_extra(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ConfigError, match=r"'libtpu'.*gpt_jax\[plan\]"):
    topologies.parse('v5e:2x2')


@pytest.mark.parametrize(
  'name, devices, chips, kind',
  [
    pytest.param('v5e:2x2', 4, 4, 'TPU v5 lite', marks=needs_libtpu),
    pytest.param('v5e:1x1', 1, 1, 'TPU v5 lite', marks=needs_libtpu),
    pytest.param('v5p:4x4x4', 64, 64, 'TPU v5', marks=needs_libtpu),
    pytest.param('v6e:4x4', 16, 16, 'TPU v6 lite', marks=needs_libtpu),
    pytest.param('v4:2x2x1', 4, 4, 'TPU v4', marks=needs_libtpu),  # megacore
    pytest.param('tpu7x:2x2x1', 8, 4, 'TPU7x', marks=needs_libtpu),
  ],
)
def test_absent_tpus_make_a_mesh(name, devices, chips, kind):
  topology = topologies.parse(name)
  assert len(topology.devices) == devices
  assert topology.num_chips == chips
  assert {device.device_kind for device in topology.devices} == {kind}
  assert of_kind(kind) is topology.chip
  mesh = meshes.make_mesh(dict(fsdp=-1), topology.devices)
  assert mesh.shape['fsdp'] == devices


@pytest.mark.extra
@pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason="needs libtpu: pip install -e '.[plan]'",
)
class TestWithLibtpu:
  def test_a_mesh_axis_may_split_a_torus_axis(self):
    devices = topologies.parse('v5e:16x16').devices
    mesh = meshes.make_mesh(dict(fsdp=64, tensor=4), devices)
    assert (mesh.shape['fsdp'], mesh.shape['tensor']) == (64, 4)

  def test_slices_are_ordered_along_the_outer_mesh_axis(self):
    topology = topologies.parse('2xv5e:4x4')
    assert topology.num_slices == 2
    numbers = [topology.slice_of(device) for device in topology.devices]
    assert numbers == [0] * 16 + [1] * 16
    for sizes in (dict(data=2, fsdp=16), dict(fsdp=32)):
      mesh = meshes.make_mesh(sizes, topology.devices)
      placed = [topology.slice_of(device) for device in mesh.devices.flat]
      assert placed == numbers

  def test_an_impossible_slice_is_an_error_with_usual_shapes(self):
    with pytest.raises(ConfigError, match='no such slice.*2x2, 4x4, 8x8 or 16x16'):
      topologies.parse('v5e:3x5')
