"""Reduce-scatters on the torus of a TPU slice, one of its axes after the other."""

import itertools
import math

import jax


def reduce_scatter(x, mesh, axes, dim):
  """Returns this device's shard, along `dim`, of the sum of `x` over mesh `axes`."""
  if len(axes) > 1:  # axis_index_groups exist for one mesh axis only
    return jax.lax.psum_scatter(x, axes, scatter_dimension=dim, tiled=True)
  # XLA:TPU has a reduce-scatter for one ring of a torus; for a plane it makes an
  # all-reduce and discards most of it. Ring by ring, half the bytes travel.
  for groups in _ring_groups_of(mesh, axes[0]):
    x = jax.lax.psum_scatter(
      x, axes[0], scatter_dimension=dim, axis_index_groups=groups, tiled=True
    )
  return x


def _ring_groups_of(mesh, axis):
  along = mesh.axis_names.index(axis)
  line = [0] * mesh.devices.ndim
  line[along] = slice(None)
  return ring_groups(
    [getattr(device, 'coords', None) for device in mesh.devices[tuple(line)]]
  )


def ring_groups(coordinates):
  """Returns one `axis_index_groups` for each torus axis that a mesh axis spans.

  Outermost first: reduce-scatters over them in turn leave shards in the order of
  `coordinates`. (None,), one group of all, where devices form no such grid.
  """
  if any(position is None for position in coordinates):
    return (None,)
  sizes = [len(set(values)) for values in zip(*coordinates, strict=True)]
  sizes = [size for size in sizes if size > 1]
  if len(sizes) < 2 or math.prod(sizes) != len(coordinates):
    return (None,)
  for order in sorted(set(itertools.permutations(sizes))):
    strides = [math.prod(order[i + 1 :]) for i in range(len(order))]
    found = tuple(
      _groups(len(coordinates), size, stride)
      for size, stride in zip(order, strides, strict=True)
    )
    if all(_is_line(coordinates, group) for groups in found for group in groups):
      return found
  return (None,)


def _groups(n, size, stride):
  # Groups of `size` indices below `n` that are `stride` apart.
  starts = [i for i in range(n) if i // stride % size == 0]
  return tuple(tuple(start + stride * k for k in range(size)) for start in starts)


def _is_line(coordinates, group):
  # Whether the devices of `group` differ in one coordinate only.
  positions = [coordinates[i] for i in group]
  return sum(len(set(values)) > 1 for values in zip(*positions, strict=True)) == 1
