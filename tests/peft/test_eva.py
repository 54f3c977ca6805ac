"""EVA: A starts at the singular vectors of what its target reads."""

import contextlib

import flax.linen as nn
import jax
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.model import linear_inputs, stacking
from gpt_jax.peft import eva, linears
from gpt_jax.program.build import adapter_of
from gpt_jax.program.observe import make_observe
from gpt_jax.train import loop
from tests import tiny_runs
from tests.peft import adapted_models

pytestmark = pytest.mark.slow

RANK = 3


def begun(overrides=None, devices=1, params=None):
  """Returns (parameters, {added name: its first value}) after two batches."""
  program = adapted_models.build('eva', overrides, devices)
  if params is None:
    params = adapted_models.state_of(program).params
  batches = (adapted_models.batch(seed) for seed in range(9))
  observe = make_observe(program, params, lambda: contextlib.closing(batches))
  leaves = dict(pytree.named_leaves(params))
  found = adapter_of(program.model).begin(leaves, observe)
  return params, {name: np.asarray(leaf) for name, leaf in found.items()}


def test_a_spans_the_leading_singular_vectors_of_inputs():
  unrolled = {'model.scan_layers': False}
  program = adapted_models.build('eva', unrolled)
  params, found = begun(unrolled)
  targets = linears.find(program.config.model)
  inputs = {linear.path: [] for linear in targets}

  def record(call, args, kwargs, context):
    path = '/'.join(context.module.path)
    if context.method_name == 'finish' and path in inputs:
      inputs[path].append(np.asarray(args[0], np.float64))
    return call(*args, **kwargs)

  for seed in range(2):
    with nn.intercept_methods(record):
      tokens_BT = adapted_models.batch(seed)['tokens'][:, :-1]
      program.model.apply({'params': params}, tokens_BT)
  assert len(found) == len(targets) == 14
  for linear in targets:
    rows = [flat(linear, x) for x in inputs[linear.path]]
    _, values, right = np.linalg.svd(np.concatenate(rows), full_matrices=False)
    a = found[f'{linear.path}/lora_a'].reshape(linear.fan_in, RANK)
    assert values[RANK - 1] > 1.02 * values[RANK], 'else the span is arbitrary'
    np.testing.assert_allclose(a.T @ a, np.eye(RANK), atol=1e-5)
    np.testing.assert_allclose(
      a @ a.T, right[:RANK].T @ right[:RANK], atol=2e-3, err_msg=linear.path
    )


def flat(linear, x):
  """Returns inputs as [tokens, fan_in]: those of `out` are [B, H, T, K]."""
  if x.ndim == 4:
    x = x.transpose(0, 2, 1, 3)
  return x.reshape(-1, linear.fan_in)


def test_the_scan_over_layers_and_a_mesh_change_nothing():
  _, scanned = begun()
  if len(jax.devices()) >= 4:
    _, sharded = begun(adapted_models.MESH, devices=4)
    for name, leaf in scanned.items():
      np.testing.assert_allclose(sharded[name], leaf, atol=1e-3, err_msg=name)
  params = adapted_models.state_of(adapted_models.build('eva')).params
  unrolled = {'model.scan_layers': False, 'model.remat': 'full'}
  _, apart = begun(unrolled, params=stacking.unstack(params))
  for name, leaf in apart.items():
    group, _, rest = name.partition('/')
    stacked = scanned[f'layers/{rest}'][int(group.removeprefix('layers_'))]
    np.testing.assert_allclose(leaf, stacked, atol=1e-3, err_msg=name)


def test_padding_counts_for_nothing():
  linear = linears.find(adapted_models.build('eva').config.model)[0]
  x_BTD = np.random.default_rng(0).normal(size=(2, 5, 32)).astype(np.float32)
  weights_BT = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], np.float32)
  rows = np.concatenate([x_BTD[0, :3], x_BTD[1, :1]])
  found = linear_inputs.second_moment(linear, jax.numpy.asarray(x_BTD), weights_BT)
  np.testing.assert_allclose(found, rows.T @ rows, atol=1e-5)


def test_without_data_a_stays_as_it_was_drawn():
  adapter = adapter_of(adapted_models.build('eva').model)
  assert adapter.begin({}) == {}


def test_signs_are_those_of_the_largest_entries():
  rows = np.random.default_rng(0).normal(size=(2, 9, 6))
  moment = rows.swapaxes(1, 2) @ rows
  found = eva.leading(moment, 4)
  assert found.shape == (2, 6, 4)
  for layer in range(2):
    values = [v @ moment[layer] @ v for v in found[layer].T.astype(np.float64)]
    assert values == sorted(values, reverse=True)
    top = np.abs(found[layer]).argmax(0)
    assert (found[layer][top, range(4)] > 0).all()


def test_training_starts_at_the_vectors_of_its_data(tmp_path):
  base = {'train.steps': 1, 'model.num_layers': 1}
  loop.train(tiny_runs.tiny_config(base), tmp_path / 'base', quiet=True)
  fields = {
    'init_from': str(tmp_path / 'base'), 'peft.name': 'lora', 'train.steps': 2,
    'peft.options.init': 'eva', 'peft.options.targets': 'attention/',
    'model.num_layers': 1, 'optimizer.learning_rate': 1e-6,
    'checkpoint.every_steps': 1,
  }  # fmt: skip
  config = tiny_runs.tiny_config(fields)
  loop.train(config, tmp_path / 'run', quiet=True)
  arrays = tiny_runs.saved_arrays(tmp_path / 'run', step=1)
  factors = {name: a for name, a in arrays.items() if 'lora_a' in name}
  ours = [a for name, a in factors.items() if a.ndim > 2 and 'params' in name]
  for a in ours or factors.values():
    columns = a.reshape(-1, a.shape[-1])
    np.testing.assert_allclose(columns.T @ columns, np.eye(8), atol=1e-3)
