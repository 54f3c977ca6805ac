"""Layers that change little go, and the others are what they were."""

import jax
import numpy as np
import pytest

from gpt_jax.compress import layers
from gpt_jax.core.errors import ConfigError
from tests.compress import small_given

DEEP = {'model__num_layers': 6}
WINDOWS = {'model__layer_pattern': ('local:2', 'local:2', 'global')}


def test_the_layer_that_adds_least_goes():
  one = small_given.given(layers.Layers(remove=1), **DEEP)
  sums = one.observe(layers.input_sums.block_cosines, 1)
  influences = layers.block_influences(sums, one.config.model)
  made = layers.drop_layers(one)
  lowest = int(np.argmin(influences))
  assert made.notes['removed layers, from 1'] == [lowest + 1]
  kept = np.delete(np.arange(6), lowest)
  jax.tree.map(
    lambda new, old: np.testing.assert_array_equal(new, np.asarray(old)[kept]),
    made.params['layers'], one.params['layers'],
  )  # fmt: skip
  config = small_given.changed(one.config, made.fields)
  assert np.isfinite(small_given.logits(config, made.params)).all()


@pytest.mark.slow
@pytest.mark.parametrize('scan', [True, False])
def test_a_cycle_of_layers_is_found_anew(scan):
  """Of 2 cycles of 3, without its third and sixth layer only local ones stay."""
  one = small_given.given(None, **DEEP, **WINDOWS, model__scan_layers=scan)
  params, pattern = layers.with_layers(one.params, one.config.model, [0, 1, 3, 4])
  assert pattern == ('local:2',)
  fields = {'model.num_layers': 4, 'model.layer_pattern': pattern}
  config = small_given.changed(one.config, fields)
  assert small_given.logits(config, params).shape == (3, 8, 16)
  if not scan:
    for new, (group, block) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
      ours = params[f'layers_{new}']['block_0']['mlp']['up']['kernel']
      theirs = one.params[f'layers_{group}'][f'block_{block}']['mlp']['up']['kernel']
      np.testing.assert_array_equal(ours, theirs)
  params, pattern = layers.with_layers(one.params, one.config.model, [0, 2, 3, 5])
  assert pattern == ('local:2', 'global')


def test_all_layers_again_are_the_same_model():
  one = small_given.given(None, **DEEP, **WINDOWS)
  params, pattern = layers.with_layers(one.params, one.config.model, list(range(6)))
  assert pattern == one.config.model.layer_pattern
  jax.tree.map(np.testing.assert_array_equal, params, one.params)


@pytest.mark.parametrize('remove', [2, 7])
def test_no_layer_left_is_refused(remove):
  one = small_given.given(layers.Layers(remove=remove))
  with pytest.raises(ConfigError, match='the model has 2 layers; expected at most 1'):
    layers.drop_layers(one)
