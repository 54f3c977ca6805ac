"""A small model with calibration data, as methods of compression are given it."""

import functools

import flax.linen as nn
import jax
import numpy as np

from gpt_jax.compress import Given
from gpt_jax.core import pytree
from gpt_jax.model import exits, statistics
from gpt_jax.model.linear_inputs import OBSERVED
from tests import small_models

PADDED = 3  # tokens at the end of the last row


def tokens():
  return small_models.random_tokens(batch=3)


def weights():
  weights_BT = np.ones(tokens().shape, np.float32)
  weights_BT[-1, -PADDED:] = 0
  return weights_BT


def given(options, with_data=True, **overrides):
  """Returns a Given of small_models.SMALL with `overrides` and random parameters."""
  config, params = _model(tuple(sorted(overrides.items())))
  model = small_models.make_gpt(config)

  def observe(make_intercept, count):
    del count
    with nn.intercept_methods(make_intercept(weights())):
      _, variables = model.apply(
        {'params': params}, tokens(), method='hidden', mutable=[OBSERVED]
      )
    return dict(pytree.named_leaves(variables[OBSERVED]))

  return Given(config, params, options, observe if with_data else None)


@functools.cache
def _model(overrides):
  config = small_models.resolve(**dict(overrides))
  return config, small_models.random_params(small_models.make_gpt(config))


def logits(config, params):
  model = small_models.make_gpt(config)
  return np.asarray(small_models.logits_of(model)(params, tokens()))


def changed(config, fields):
  """Returns `config` with the `fields` of a Compressed."""
  values = {name.replace('.', '__'): value for name, value in fields.items()}
  return small_models.resolve(**_own(config) | values)


def _own(config):
  names = (
    'num_layers', 'num_heads', 'num_kv_heads', 'head_dim', 'd_ff', 'block', 'bias',
    'layer_pattern', 'activation', 'scan_layers', 'position',
  )  # fmt: skip
  return {f'model__{name}': getattr(config.model, name) for name in names}


def streams(given):
  """Returns [layers + 1, B, T, D]: the stream before the first layer, after each."""
  model = small_models.make_gpt(given.config).clone(watched=exits.WATCHED)
  _, sown = model.apply(
    {'params': given.params}, tokens(), method='hidden',
    mutable=[statistics.COLLECTION],
  )  # fmt: skip
  sown = sown[statistics.COLLECTION]
  after = exits.stack(sown, given.config.model)
  return np.concatenate([sown['exits']['x_BTD'][None], after])


def captured(given, params=None):
  """Returns {module: its output} of all modules, layers unrolled."""
  model = small_models.make_gpt(given.config)
  _, found = model.apply(
    {'params': given.params if params is None else params}, tokens(),
    capture_intermediates=True, mutable=['intermediates'],
  )  # fmt: skip
  leaves = jax.tree_util.tree_leaves_with_path(found['intermediates'])
  return {
    '/'.join(part.key for part in path if hasattr(part, 'key')): np.asarray(leaf)
    for path, leaf in leaves
    if getattr(path[-1], 'idx', 0) == 0
  }
