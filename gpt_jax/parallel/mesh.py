"""The device mesh: which devices lie along which axis of parallelism."""

import math

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from gpt_jax.core.axes import MESH_AXES
from gpt_jax.core.errors import ConfigError


def axis_sizes(requested, num_devices, num_slices=1):
  """Returns `{axis: size}` over MESH_AXES with -1 resolved to the devices left.

  Raises ConfigError when the sizes do not multiply to `num_devices`.
  """
  sizes = {axis: requested.get(axis, 1) for axis in MESH_AXES}
  shown = ', '.join(f'{axis}={size}' for axis, size in sizes.items())
  free = [axis for axis, size in sizes.items() if size == -1]
  # With data and another axis -1, data takes the slices and the other what is left in
  # each, so that weights do not travel between slices.
  data_is_slices = len(free) > 1 and 'data' in free
  if data_is_slices:
    sizes['data'] = num_slices
    free.remove('data')
  fixed = math.prod(size for size in sizes.values() if size != -1)
  if free and num_devices % fixed == 0:
    sizes[free[0]] = num_devices // fixed
  elif free or fixed != num_devices:
    fix = 'change the sizes or set one axis to -1'
    if data_is_slices:
      shown = shown.replace('data=-1', f'data=-1 (the {num_slices} slices)')
      fix = 'change the sizes, or set data=1 to shard weights across slices'
    raise ConfigError(
      f'parallel.mesh: {shown} needs {"a multiple of " if free else ""}{fixed} devices,'
      f' and there are {num_devices}; {fix}.'
    )
  return sizes


def slices_of(devices):
  """Returns the indices of the TPU slices that `devices` lie in; {0} off TPUs."""
  return {
    (getattr(device, 'slice_index', None) or 0) if device.platform == 'tpu' else 0
    for device in devices
  }


def make_mesh(requested, devices=None):
  """Returns a Mesh over `devices` (default: all) with the axes of MESH_AXES."""
  devices = list(jax.devices() if devices is None else devices)
  slices = slices_of(devices)
  shape = tuple(axis_sizes(requested, len(devices), len(slices)).values())
  if devices[0].platform != 'tpu':
    return Mesh(np.asarray(devices).reshape(shape), MESH_AXES)
  if len(slices) == 1:
    grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(grid, MESH_AXES)
  # Slices lie along the outermost axis that their number divides: the slow network
  # between them carries only that axis' traffic.
  outer = next((i for i, size in enumerate(shape) if size % len(slices) == 0), None)
  if outer is None:
    raise ConfigError(
      f'parallel.mesh={dict(zip(MESH_AXES, shape, strict=True))}: no axis is'
      f' divisible by the {len(slices)} slices; make data or fsdp a multiple of it.'
    )
  across = tuple(len(slices) if i == outer else 1 for i in range(len(shape)))
  inside = tuple(size // across[i] for i, size in enumerate(shape))
  grid = mesh_utils.create_hybrid_device_mesh(
    inside, across, devices, allow_split_physical_axes=True
  )
  return Mesh(grid, MESH_AXES)
