"""VeRA against its formula; the matrices that a seed makes."""

import jax
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import linears, vera
from gpt_jax.program.build import adapter_of
from tests import tiny_runs
from tests.peft import adapted_models

EVERYWHERE = {'peft.options.targets': ''}


def targets(overrides=None):
  return linears.find(adapted_models.build(None, overrides).config.model)


def test_the_update_is_that_of_the_equation():
  program = adapted_models.build('vera', EVERYWHERE)
  params = adapted_models.state_of(program, is_trained=True).params
  leaves = dict(pytree.named_leaves(params))
  made = dict(pytree.named_leaves(adapted_models.merged(program, params)))
  shared = vera.shared_matrices(targets(), rank=5, seed=0)
  for linear in targets():
    a, b = (np.asarray(each, np.float64) for each in shared[linear.path])
    a, b = a.reshape(linear.fan_in, 5), b.reshape(5, linear.fan_out)
    for layer in range(2):
      vector_d = np.asarray(leaves[f'{linear.path}/vera_d'][layer], np.float64)
      vector_b = np.asarray(leaves[f'{linear.path}/vera_b'][layer], np.float64)
      kernel = np.asarray(leaves[linear.kernel][layer], np.float64)
      wanted = kernel.reshape(linear.fan_in, linear.fan_out)
      wanted = wanted + a @ np.diag(vector_d) @ b @ np.diag(vector_b.ravel())
      found = np.asarray(made[linear.kernel][layer]).reshape(wanted.shape)
      np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_matrices_of_one_size_are_shared_and_a_seed_makes_them():
  made = vera.shared_matrices(targets(), rank=5, seed=3)
  block = 'layers/block_0'
  query, key, value = (
    made[f'{block}/attention/{n}'] for n in ('query', 'key', 'value')
  )
  assert query[0] is key[0] is value[0] is made[f'{block}/mlp/up'][0]
  assert key[1] is value[1] is not query[1]
  again = vera.shared_matrices(targets(), rank=5, seed=3)
  other = vera.shared_matrices(targets(), rank=5, seed=4)
  for path, pair in made.items():
    for ours, same, different in zip(pair, again[path], other[path], strict=True):
      np.testing.assert_array_equal(ours, same)
      assert not np.array_equal(ours, different)


def test_unrolled_layers_have_the_matrices_of_the_scan():
  scanned = vera.shared_matrices(targets(), rank=5, seed=0)
  apart = vera.shared_matrices(targets({'model.scan_layers': False}), rank=5, seed=0)
  for path, pair in apart.items():
    of_scan = scanned['layers/' + path.partition('/')[2]]
    for ours, theirs in zip(pair, of_scan, strict=True):
      np.testing.assert_array_equal(ours, theirs)


def test_matrices_have_the_variance_of_their_sums():
  a, b = vera.shared_matrices(targets(), rank=200, seed=0)[targets()[0].path]
  np.testing.assert_allclose(a.std(), np.sqrt(2 / 32), rtol=0.02)
  np.testing.assert_allclose(b.std(), np.sqrt(2 / 200), rtol=0.02)


def test_vectors_alone_are_parameters_and_start_as_in_the_paper():
  program = adapted_models.build('vera')
  leaves = dict(pytree.named_leaves(program.init(0).params))
  added = adapter_of(program.model).added
  assert {name.rpartition('/')[2] for name in added} == {'vera_d', 'vera_b'}
  for name in added:
    start = np.float32(0.1 if name.endswith('d') else 0.0)
    np.testing.assert_array_equal(leaves[name], np.full(leaves[name].shape, start))


def test_a_mesh_and_bfloat16_go_through():
  fields = adapted_models.MESH | {'model.dtype': 'bfloat16'}
  program = adapted_models.build('vera', fields, devices=min(4, len(jax.devices())))
  _, losses = adapted_models.steps(program, adapted_models.state_of(program))
  assert np.isfinite(losses).all()


def test_targets_that_match_nothing_name_the_nearest():
  fields = {'peft.name': 'vera', 'model.vocab_size': 32}
  config = tiny_runs.tiny_config(fields | {'peft.options.targets': 'valeu'})
  with pytest.raises(ConfigError, match="the nearest is 'value'"):
    vera.make(config)
