"""Options for XLA: by the devices of the mesh, whatever machine compiles."""

import re
import types

import jax
import numpy as np
import pytest

from gpt_jax.objectives import Vocab
from gpt_jax.parallel.compiler_options import OPTIONS, of_step, options_for
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs
from gpt_jax.program.build import build_program
from tests import tiny_runs

FUSED_GATHERS = 'xla_tpu_enable_async_collective_fusion'


def mesh_of(device_kind):
  """Returns what `options_for` asks of a mesh."""
  devices = np.array([types.SimpleNamespace(device_kind=device_kind)])
  return types.SimpleNamespace(devices=devices)


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
  assert options_for(mesh_of(device_kind), 'none') == OPTIONS[chip]


@pytest.mark.parametrize('chip', [chip for chip in OPTIONS if chip != 'cpu'])
def test_on_every_tpu_gathers_stay_gathers(chip):
  options = options_for(mesh_of(chip), 'none')
  assert options['xla_tpu_prefer_async_allgather_to_allreduce'] == 'true'
  # In MiB; a step of 175B gathers less than that at once.
  assert int(options['xla_jf_spmd_threshold_for_windowed_einsum_mib']) > 100_000


def test_a_v5e_gathers_beside_element_wise_work_with_full_remat():
  mesh, flag = mesh_of('TPU v5 lite'), f'{FUSED_GATHERS}_fuse_kloop_fusions'
  assert options_for(mesh, 'full')[flag] == 'true'
  # With that flag alone the compiler crashed on two slices (experiments/LOG.md).
  assert options_for(mesh, 'full')[f'{FUSED_GATHERS}_while_loops'] == 'false'
  for remat in ('none', 'dots', 'names'):
    assert flag not in options_for(mesh, remat)


@pytest.mark.parametrize(
  'field, value', [('peft.base_storage', 'nf4'), ('model.quantization', 'int8')]
)
def test_gathers_of_codes_are_not_fused(field, value):
  more = {} if field.startswith('model') else {'peft.name': 'lora'}
  mesh, flag = mesh_of('TPU v5 lite'), f'{FUSED_GATHERS}_fuse_kloop_fusions'
  full = tiny_runs.tiny_config({'model.remat': 'full'} | more)
  codes = tiny_runs.tiny_config({'model.remat': 'full', field: value} | more)
  assert flag in of_step(mesh, full) and flag not in of_step(mesh, codes)


def test_an_unknown_device_has_no_options():
  assert options_for(mesh_of('NVIDIA H200'), 'full') == {}


def test_a_step_on_a_cpu_keeps_no_copy_of_what_it_updates():
  config = tiny_runs.tiny_config({'model.scan_layers': False})
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  program = build_program(config, vocab=Vocab(size=257), mesh=mesh)
  lowered = program.step.lower(program.abstract_state, inputs.abstract_batch(program))
  without = dict.fromkeys(OPTIONS['cpu'], False)
  embedding = jax.tree.leaves(program.abstract_state.params['embed'])[0]
  copies = rf'= f32\[{",".join(map(str, embedding.shape))}\]\S* copy\('
  assert re.search(copies, lowered.compile(without).as_text())
  assert not re.search(copies, lowered.compile().as_text())
