"""Time of collectives on a TPU's network: an alpha-beta model, not a measurement.

time = hops x alpha + bytes / bandwidth, with the bytes of a ring (`wire_bytes`) and the
links along the torus axes that a group spans: one link for two chips, two for more, as
if every axis closed to a ring (on parts of a pod that is optimistic). Groups across
slices are bound by the network between them. Contention is not modelled.
"""

import dataclasses

import numpy as np

from gpt_jax.hlo.costs import by_kind
from gpt_jax.hlo.types import BETWEEN_SLICES

ICI_HOP_SECONDS = 1e-6  # assumed: about a microsecond from chip to chip
DCN_HOP_SECONDS = 20e-6  # assumed: a round trip through hosts and switches


@dataclasses.dataclass(frozen=True)
class CollectiveStats:
  """Collectives of one kind and group in a step, for one device."""

  kind: str
  axes: tuple[str, ...]
  group_size: int
  asynchronous: bool
  count: int
  bytes: int  # payload: size of the replicated arrays
  wire_bytes: float  # received by a device, if collectives run as rings
  model_ms: float
  overlaps_ms: dict[str, float] | None
  """Time by class of the ops between start and end; empty: nothing overlaps. None: the
  end is elsewhere, such as in the next iteration of a loop."""

  @property
  def exposed_ms(self):
    # What overlaps is assumed to hide it fully.
    if not self.asynchronous:
      return self.model_ms
    if self.overlaps_ms is None:
      return 0.0
    return max(0.0, self.model_ms - sum(self.overlaps_ms.values()))


@dataclasses.dataclass(frozen=True)
class Network:
  collectives: tuple[CollectiveStats, ...]
  collective_bytes: dict[str, int]  # payload by kind
  wire_bytes: dict[str, float]
  asynchronous_wire_share: float | None
  network_ms: float
  exposed_network_ms: float
  """Of synchronous collectives, and of others beyond the time of what they overlap."""


def measure(collectives, mesh, topology):
  """Returns the Network of the `hlo.types.Collective`s of a compiled step."""
  stats = tuple(_stats(each, mesh, topology) for each in collectives)
  total = sum(each.wire_bytes for each in stats)
  asynchronous = sum(each.wire_bytes for each in stats if each.asynchronous)
  return Network(
    collectives=stats,
    collective_bytes=by_kind(stats, lambda each: each.bytes),
    wire_bytes=by_kind(stats, lambda each: each.wire_bytes),
    asynchronous_wire_share=asynchronous / total if total else None,
    network_ms=sum(each.model_ms for each in stats),
    exposed_network_ms=sum(each.exposed_ms for each in stats),
  )


def _stats(collective, mesh, topology):
  overlap = collective.overlapped_cycles
  return CollectiveStats(
    kind=collective.kind,
    axes=mesh_axes(collective.group, mesh),
    group_size=len(collective.group),
    asynchronous=collective.asynchronous,
    count=collective.count,
    bytes=collective.payload_bytes,
    wire_bytes=collective.wire_bytes,
    model_ms=1e3 * seconds(collective, mesh, topology),
    overlaps_ms=None
    if overlap is None
    else {kind: cycles * topology.ms_per_cycle for kind, cycles in overlap},
  )


def mesh_axes(group, mesh):
  """Returns the mesh axes along which the row-major partitions of `group` differ."""
  if not group:
    return ()
  places = np.unravel_index(list(group), tuple(mesh.shape.values()))
  return tuple(
    name
    for name, along in zip(mesh.axis_names, places, strict=True)
    if len(set(along)) > 1
  )


def seconds(collective, mesh, topology):
  """Returns the time of all runs of a Collective in sequence; 0 on CPUs and GPUs."""
  chip = topology.chip
  if chip is None:
    return 0.0
  if collective.kind == BETWEEN_SLICES:
    time = collective.wire_bytes / chip.dcn_bandwidth
    return time + collective.count * DCN_HOP_SECONDS
  if len(collective.group) < 2:
    return 0.0
  devices = [mesh.devices.flat[partition] for partition in collective.group]
  is_permute = collective.kind == 'collective-permute'
  if len({topology.slice_of(device) for device in devices}) > 1:
    # Members within a slice share the load over the network between the slices.
    across = collective.wire_bytes / chip.dcn_bandwidth
    inside = 1 if is_permute else len(devices) // topology.num_slices
    return across / inside + collective.count * DCN_HOP_SECONDS
  extents = _extents(devices)
  links = 1 if is_permute else sum(1 if extent == 2 else 2 for extent in extents)
  hops = 1 if is_permute else sum(max(1, extent // 2) for extent in extents)
  bandwidth = max(1, links) * chip.link_bandwidth
  return collective.wire_bytes / bandwidth + collective.count * hops * ICI_HOP_SECONDS


def _extents(devices):
  """Returns over how many places `devices` spread on each torus axis they span."""
  coordinates = zip(*(device.coords for device in devices), strict=True)
  spread = [len(set(places)) for places in coordinates]
  return [extent for extent in spread if extent > 1] or [2]  # or: two halves of a chip
