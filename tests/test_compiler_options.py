"""Options for XLA: by the platform of the mesh, whatever machine compiles."""

import types

import numpy as np

from gpt_jax.parallel.compiler_options import OPTIONS, options_for
from gpt_jax.parallel.mesh import make_mesh


def test_options_belong_to_the_devices_of_the_mesh():
  devices = np.array([types.SimpleNamespace(platform='tpu')])
  assert options_for(types.SimpleNamespace(devices=devices)) == OPTIONS['tpu']
  assert options_for(make_mesh({'data': 8})) == {}
