"""The model of the network, against arithmetic for small groups."""

import dataclasses
import types

import numpy as np
import pytest

from gpt_jax.core.axes import MESH_AXES
from gpt_jax.hlo import types as hlo_types
from gpt_jax.parallel import chips
from gpt_jax.planning import network, topologies

V5E = chips.TPUS['v5e']
MIB = 2**20


def grid(shape, slices=1):
  """Returns (topology, mesh) of fake v5e devices along data (slices), fsdp, tensor."""
  rows, columns = shape
  devices = [
    types.SimpleNamespace(slice_index=s, coords=(row, column, 0), id=0)
    for s in range(slices)
    for row in range(rows)
    for column in range(columns)
  ]
  sizes = dict.fromkeys(MESH_AXES, 1) | dict(data=slices, fsdp=rows, tensor=columns)
  mesh = types.SimpleNamespace(
    devices=np.array(devices).reshape(*sizes.values()),
    shape=sizes,
    axis_names=MESH_AXES,
  )
  return topologies.Topology('fake', tuple(devices), V5E, slices), mesh


def seconds(kind, group, payload, shape, slices=1, count=1):
  topology, mesh = grid(shape, slices)
  collective = hlo_types.Collective(kind, tuple(group), False, count, payload)
  return network.seconds(collective, mesh, topology)


def test_a_group_spans_the_mesh_axes_it_differs_along():
  _, mesh = grid((4, 2), slices=2)
  assert network.mesh_axes((0, 1), mesh) == ('tensor',)
  assert network.mesh_axes((0, 2, 4, 6), mesh) == ('fsdp',)
  assert network.mesh_axes((0, 8), mesh) == ('data',)
  assert network.mesh_axes(range(16), mesh) == ('data', 'fsdp', 'tensor')
  assert network.mesh_axes((3,), mesh) == ()


def test_a_gather_along_a_ring_uses_both_links():
  expected = (64 * MIB * 3 / 4) / (2 * V5E.link_bandwidth)
  expected += 2 * network.ICI_HOP_SECONDS
  assert seconds('all-gather', range(4), 64 * MIB, (1, 4)) == pytest.approx(expected)


def test_two_chips_have_one_link_and_one_hop():
  expected = (64 * MIB / 2) / V5E.link_bandwidth + network.ICI_HOP_SECONDS
  assert seconds('all-gather', (0, 1), 64 * MIB, (1, 4)) == pytest.approx(expected)


def test_a_square_uses_the_links_of_both_axes():
  square = seconds('all-reduce', range(16), 1024 * MIB, (4, 4))
  row = seconds('all-reduce', range(16), 1024 * MIB, (1, 16))
  assert square == pytest.approx(row / 2, rel=1e-3)


def test_an_all_reduce_costs_two_gathers():
  gather = seconds('all-gather', range(4), 1024 * MIB, (1, 4))
  assert seconds('all-reduce', range(4), 1024 * MIB, (1, 4)) == pytest.approx(
    2 * gather, rel=1e-2
  )


def test_small_messages_cost_their_latency():
  many = seconds('all-gather', range(4), 1000, (1, 4), count=1000)
  assert many == pytest.approx(1000 * 2 * network.ICI_HOP_SECONDS, rel=1e-2)


def test_groups_across_slices_use_the_slower_network():
  inside = seconds('all-reduce', range(8), 64 * MIB, (2, 4))
  across = seconds('all-reduce', (0, 8), 64 * MIB, (2, 4), slices=2)
  assert across > 10 * inside
  # All eight chips of a slice carry a share of what the slices exchange.
  everyone = seconds('all-reduce', range(16), 64 * MIB, (2, 4), slices=2)
  assert everyone < across


def test_a_slice_exchange_uses_the_network_between_slices():
  expected = 64 * MIB / V5E.dcn_bandwidth + network.DCN_HOP_SECONDS
  exchange = seconds(hlo_types.BETWEEN_SLICES, (), 64 * MIB, (2, 4), slices=2)
  assert exchange == pytest.approx(expected)


def test_unknown_chips_and_single_devices_cost_nothing():
  assert seconds('all-reduce', (0,), MIB, (1, 4)) == 0.0
  topology, mesh = grid((1, 4))
  cpu = topologies.Topology('cpu:4', topology.devices, None)
  collective = hlo_types.Collective('all-reduce', (0, 1), False, 1, MIB)
  assert network.seconds(collective, mesh, cpu) == 0.0


def test_time_beyond_the_overlap_is_exposed():
  fields = dict(
    kind='all-gather', axes=('fsdp',), group_size=4, count=1, bytes=1, wire_bytes=1.0,
    model_ms=5.0,
  )  # fmt: skip
  gather = network.CollectiveStats(
    **fields, asynchronous=True, overlaps_ms={'matmul': 3.0}
  )
  assert gather.exposed_ms == 2.0
  assert dataclasses.replace(gather, overlaps_ms=None).exposed_ms == 0.0
  assert dataclasses.replace(gather, asynchronous=False).exposed_ms == 5.0
