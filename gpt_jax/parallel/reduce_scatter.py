"""Sums over devices that lie on a torus, one ring after the other."""

import itertools
import math

import jax


def reduce_scatter(x, mesh, axes, dim):
  """Returns this device's piece, along `dim`, of the sum of `x` over the mesh `axes`.

  For use inside `jax.shard_map`. XLA:TPU has a reduce-scatter for one ring of a torus;
  for a plane it makes an all-reduce of which each device throws most away. Along one
  ring after the other only half the bytes travel.
  """
  if len(axes) > 1:  # groups of devices are spelled along one mesh axis
    return jax.lax.psum_scatter(x, axes, scatter_dimension=dim, tiled=True)
  for groups in _rings_of(mesh, axes[0]):
    x = jax.lax.psum_scatter(
      x, axes[0], scatter_dimension=dim, axis_index_groups=groups, tiled=True
    )
  return x


def _rings_of(mesh, axis):
  along = mesh.axis_names.index(axis)
  line = [0] * mesh.devices.ndim
  line[along] = slice(None)
  return rings(
    [getattr(device, 'coords', None) for device in mesh.devices[tuple(line)]]
  )


def rings(coordinates):
  """Returns groups of places of a list, a tuple of them for each axis of a torus.

  As `axis_index_groups` want them, outermost first: sums along the first groups, then
  along the next, leave pieces in the order of the list. (None,), one group of all,
  where devices tell no coordinates, lie on one ring, or are in no such order.
  """
  if any(place is None for place in coordinates):
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
  """Returns every `size` places that stand `stride` apart."""
  starts = [i for i in range(n) if i // stride % size == 0]
  return tuple(tuple(start + stride * k for k in range(size)) for start in starts)


def _is_line(coordinates, group):
  """Returns whether the places of `group` differ in one coordinate only."""
  places = [coordinates[i] for i in group]
  return sum(len(set(values)) > 1 for values in zip(*places, strict=True)) == 1
