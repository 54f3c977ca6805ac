"""Meshes: sizes by arithmetic, -1 for the rest, errors that say what is there."""

import jax
import numpy as np
import pytest

from gpt_jax.core.axes import MESH_AXES
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import mesh as meshes


def test_minus_one_takes_the_devices_that_are_left():
  sizes = meshes.axis_sizes(dict(data=-1, tensor=2, fsdp=2), 24)
  assert sizes == dict(data=6, fsdp=2, sequence=1, tensor=2, expert=1)


@pytest.mark.parametrize('num_slices', [1, 2])
def test_with_two_minus_ones_data_takes_the_slices(num_slices):
  sizes = meshes.axis_sizes(dict(data=-1, fsdp=-1, tensor=2), 16, num_slices)
  assert (sizes['data'], sizes['fsdp']) == (num_slices, 8 // num_slices)
  assert meshes.axis_sizes(dict(data=-1, fsdp=4), 16, num_slices)['data'] == 4


def test_too_many_slices_are_an_error_that_says_data_1():
  words = r'data=-1 \(the 4 slices\), fsdp=-1,.*a multiple of 64 .* are 32;.* data=1 to'
  with pytest.raises(ConfigError, match=words):
    meshes.axis_sizes(dict(data=-1, fsdp=-1, tensor=16), 32, 4)
  assert meshes.axis_sizes(dict(data=1, fsdp=-1, tensor=16), 32, 4)['fsdp'] == 2


def test_axes_not_named_are_one():
  assert meshes.axis_sizes({'fsdp': 4}, 4) == {axis: 1 for axis in MESH_AXES} | dict(
    fsdp=4
  )


def test_one_device_makes_a_mesh_of_ones():
  assert set(meshes.axis_sizes(dict(data=-1), 1).values()) == {1}


@pytest.mark.parametrize(
  'requested,message',
  [
    (dict(data=3), r'parallel.mesh: data=3.* needs 3 devices, and there are 8'),
    (dict(data=-1, tensor=3), r'needs a multiple of 3 devices, and there are 8'),
    (dict(data=16), r'needs 16 devices, and there are 8.*-1'),
  ],
)
def test_wrong_mesh_sizes_are_an_error_with_both_numbers(requested, message):
  with pytest.raises(ConfigError, match=message):
    meshes.axis_sizes(requested, 8)


def test_the_mesh_holds_every_device_once_in_axis_order():
  mesh = meshes.make_mesh(dict(data=2, tensor=-1))
  assert mesh.axis_names == MESH_AXES
  assert dict(mesh.shape) == dict(data=2, fsdp=1, sequence=1, tensor=4, expert=1)
  assert list(mesh.devices.flat) == jax.devices()


def test_a_mesh_may_use_some_of_the_devices():
  devices = jax.devices()[2:4]
  mesh = meshes.make_mesh(dict(fsdp=-1), devices)
  assert list(mesh.devices.flat) == devices


def _sizes(grid, names):
  return dict(zip(names, grid.shape, strict=True))


class FakeTPU:
  platform = 'tpu'
  device_kind = 'TPU v5e'

  def __init__(self, slice_index):
    self.slice_index = slice_index


@pytest.fixture
def asked(monkeypatch):
  """Returns what make_mesh asks of jax for several slices, filled when it does."""
  asked = {}

  def create(inside, across, devices, **_):
    asked.update(inside=inside, across=across)
    return np.empty([i * a for i, a in zip(inside, across, strict=True)], object)

  monkeypatch.setattr(meshes.mesh_utils, 'create_hybrid_device_mesh', create)
  monkeypatch.setattr(meshes, 'Mesh', _sizes)
  return asked


TWO_SLICES = [FakeTPU(slice_index) for slice_index in (0, 0, 0, 0, 1, 1, 1, 1)]


def test_slices_lie_along_the_outermost_axis_that_they_divide(asked):
  sizes = meshes.make_mesh(dict(data=1, fsdp=-1, tensor=2), TWO_SLICES)
  assert asked == dict(inside=(1, 2, 1, 2, 1), across=(1, 2, 1, 1, 1))
  assert sizes['fsdp'] == 4


def test_tpus_tell_their_slices_other_devices_form_one():
  assert meshes.slices_of(TWO_SLICES) == {0, 1}
  assert meshes.slices_of(jax.devices()) == {0}


def test_weights_stay_within_a_slice_when_data_is_minus_1(asked):
  meshes.make_mesh(dict(data=-1, fsdp=-1), TWO_SLICES)
  assert asked == dict(inside=(1, 4, 1, 1, 1), across=(2, 1, 1, 1, 1))


def test_slices_that_no_axis_divides_are_an_error():
  devices = [FakeTPU(i % 4) for i in range(6)]
  with pytest.raises(ConfigError, match='no axis is divisible by the 4 slices'):
    meshes.make_mesh(dict(data=2, sequence=3), devices)
