"""Options for XLA: by the devices of the mesh, whatever machine compiles."""

import types

import numpy as np
import pytest

from gpt_jax.parallel.compiler_options import OPTIONS, options_for
from gpt_jax.parallel.mesh import make_mesh


@pytest.mark.parametrize(
  ('device_kind', 'chip'),
  [
    ('TPU v4', 'TPU v4'),
    ('TPU v5 lite', 'TPU v5 lite'),
    ('TPU v5', 'TPU v5'),
    ('TPU v5p', 'TPU v5'),
    ('TPU v6 lite', 'TPU v6'),
    ('TPU7x', 'TPU'),
  ],
)
def test_each_chip_has_its_options(device_kind, chip):
  devices = np.array([types.SimpleNamespace(device_kind=device_kind)])
  assert options_for(types.SimpleNamespace(devices=devices)) is OPTIONS[chip]


def test_other_devices_have_no_options():
  assert options_for(make_mesh({'data': 8})) == {}
