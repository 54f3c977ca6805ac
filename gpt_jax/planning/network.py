"""How long collectives take on a TPU's network: an alpha-beta model, not a measurement.

time = hops x alpha + bytes / bandwidth. Bytes are those of a ring (`wire_bytes`). Chips
of a group receive over the links along each axis of the torus that the group spans: one
link of two chips in a row, two of more, as if every axis closed to a ring, which on
parts of a pod is optimistic. A group that spans slices is bound by the network between
them. Contention, between collectives or between jobs, is not modelled.
"""

import math

from gpt_jax.hlo.types import BETWEEN_SLICES

ICI_HOP_SECONDS = 1e-6  # assumed: about a microsecond from chip to chip
DCN_HOP_SECONDS = 20e-6  # assumed: a round through hosts and switches


def mesh_axes(group, mesh):
  """Returns the names of the mesh axes along which the partitions of `group` differ.

  Partition i is device i of the mesh in row-major order.
  """
  shape = tuple(mesh.shape.values())
  spread = [set() for _ in shape]
  for partition in group:
    for seen, place in zip(spread, _unravel(partition, shape), strict=True):
      seen.add(place)
  return tuple(
    name for name, seen in zip(mesh.axis_names, spread, strict=True) if len(seen) > 1
  )


def seconds(collective, mesh, topology):
  """Returns the time of all runs of an hlo_records.Collective, one after the other.

  0 without a chip's figures (CPUs) and for groups of one device.
  """
  chip = topology.chip
  if chip is None:
    return 0.0
  if collective.kind == BETWEEN_SLICES:
    time = collective.wire_bytes / chip.dcn_bandwidth
    return time + collective.count * DCN_HOP_SECONDS
  if len(collective.group) < 2:
    return 0.0
  devices = [mesh.devices.flat[partition] for partition in collective.group]
  moves_once = collective.kind == 'collective-permute'
  if len({topology.slice_of(device) for device in devices}) > 1:
    # Members within a slice share the load over the network between the slices.
    across = collective.wire_bytes / chip.dcn_bandwidth
    inside = 1 if moves_once else len(devices) // topology.num_slices
    return across / inside + collective.count * DCN_HOP_SECONDS
  extents = _extents(devices)
  links = 1 if moves_once else sum(1 if extent == 2 else 2 for extent in extents)
  hops = 1 if moves_once else sum(max(1, extent // 2) for extent in extents)
  bandwidth = max(1, links) * chip.link_bandwidth
  return collective.wire_bytes / bandwidth + collective.count * hops * ICI_HOP_SECONDS


def _extents(devices):
  """Returns over how many places `devices` spread on each torus axis they span."""
  coordinates = zip(*(device.coords for device in devices), strict=True)
  spread = [len(set(places)) for places in coordinates]
  return [extent for extent in spread if extent > 1] or [2]  # or: two halves of a chip


def _unravel(position, shape):
  digits = []
  for axis in range(len(shape)):
    stride = math.prod(shape[axis + 1 :])
    digits.append(position // stride % shape[axis])
  return digits
