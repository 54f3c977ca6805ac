"""Options for XLA: by the devices of the mesh, whatever machine compiles."""

import re
import types

import jax
import numpy as np
import pytest
import tiny_runs

from gpt_jax.objectives import Vocab
from gpt_jax.parallel.compiler_options import OPTIONS, options_for
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs
from gpt_jax.train import step


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


def test_an_unknown_device_has_no_options():
  devices = np.array([types.SimpleNamespace(device_kind='NVIDIA H200')])
  assert options_for(types.SimpleNamespace(devices=devices)) == {}


def test_a_step_on_a_cpu_keeps_no_copy_of_what_it_updates():
  config = tiny_runs.tiny_config({'model.scan_layers': False})
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = step.build(config, vocab=Vocab(size=257), mesh=mesh)
  lowered = program.step.lower(program.abstract_state, inputs.abstract_batch(program))
  without = dict.fromkeys(OPTIONS['cpu'], False)
  table = jax.tree.leaves(program.abstract_state.params['embed'])[0]
  copies = rf'= f32\[{",".join(map(str, table.shape))}\]\S* copy\('
  assert re.search(copies, lowered.compile(without).as_text())
  assert not re.search(copies, lowered.compile().as_text())
