"""Weights in few bits: what a config may ask for, and what a mesh computes."""

import jax
import numpy as np
import pytest

from gpt_jax import attention, objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program, init_params
from tests import tiny_runs

WRONG = {
  'quantized_activations': {'model.quantized_activations': True},
  'outlier_threshold': {'model.outlier_threshold': 6.0, 'model.quantization': 'int8'},
  'fake_quantization': {
    'model.fake_quantization': 'int8', 'model.quantization': 'int4',
  },
}  # fmt: skip


@pytest.mark.parametrize('field', WRONG)
def test_fields_that_do_not_go_together_are_named(field):
  with pytest.raises(ConfigError, match=rf'model\.{field}'):
    tiny_runs.tiny_config(WRONG[field])


@pytest.mark.parametrize('activations', (False, True))
def test_a_mesh_that_gathers_codes_computes_the_same(activations):
  config = tiny_runs.tiny_config(
    {
      'model.quantization': 'int8', 'model.quantized_embedding': True,
      'model.quantized_activations': activations, 'parallel.mesh.fsdp': 2,
      'parallel.mesh.data': 1,
    }
  )  # fmt: skip
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:2])
  vocab = objectives.Vocab(size=16, eos_id=0)
  program = build_program(config, vocab=vocab, mesh=mesh)
  params = init_params(0, program.model)
  tokens_BT = np.arange(32, dtype=np.int32).reshape(2, 16) % 16
  attend = attention.choose_kernel(program.config, has_slopes=False)[1]
  plain = GPT(program.config.model, attend)
  wanted = jax.jit(plain.apply)({'params': params}, tokens_BT)[0]
  shardings = jax.tree.map(lambda x: x.sharding, program.abstract_state.params)
  placed = jax.device_put(params, shardings)
  found = jax.jit(program.model.apply)({'params': placed}, tokens_BT)[0]
  np.testing.assert_allclose(found, wanted, atol=2e-3)
