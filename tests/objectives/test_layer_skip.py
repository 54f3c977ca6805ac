"""Shares of exits and rates of dropped layers are the equations of LayerSkip."""

import numpy as np
import pytest

from gpt_jax.objectives import layer_skip
from gpt_jax.objectives.layer_skip import LayerSkip

L, STEPS = 8, 101


def weights(step, **options):
  made = layer_skip.exit_weights(LayerSkip(**options), step, STEPS, L)
  return np.asarray(made)


def test_shares_of_exits_are_those_of_the_paper():
  sums_L = np.cumsum(np.arange(L))  # 0, 1, 3, 6, ...
  wanted_L = 0.5 * sums_L
  wanted_L[-1] = L - 1 + 0.5 * sums_L[-2]
  found_L = weights(0, curriculum='all', exit_scale=0.5)
  np.testing.assert_allclose(found_L, wanted_L / wanted_L.sum(), rtol=1e-6)
  assert np.all(np.diff(found_L) > 0)


def test_rotation_gives_every_exit_its_turn():
  found_SL = np.array([weights(step, interval=3) for step in range(6)])
  np.testing.assert_allclose(found_SL.sum(1), 1, rtol=1e-6)
  is_on_SL = found_SL[:, 1:-1] > 0  # the first has no share at all
  layer_L = np.arange(1, L - 1)
  np.testing.assert_array_equal(is_on_SL, layer_L % 3 == np.arange(6)[:, None] % 3)
  assert np.all(found_SL[:, -1] > 0)
  assert (found_SL[:, :-1] > 0).sum(1).max() <= layer_skip.exits_at_once(
    LayerSkip(interval=3), L
  )


def test_the_gradual_curriculum_adds_exits_from_the_last_down():
  counts = [
    int((weights(step, curriculum='gradual')[1:] > 0).sum())
    for step in range(0, STEPS, 4)
  ]
  assert counts == sorted(counts)
  assert counts[0] == 1
  assert counts[STEPS // 8] == L - 1  # half of the run
  early = weights(8, curriculum='gradual')
  assert early[-2] > 0 and not early[1:-2].any()


def test_layers_are_dropped_more_often_later_in_depth_and_run():
  options = LayerSkip(layer_dropout=0.4, dropout_curriculum='constant')
  rate_L = np.asarray(layer_skip.drop_rates(options, 7, STEPS, L))
  wanted_L = 0.4 * (np.exp(np.arange(L) * np.log(2) / (L - 1)) - 1)
  np.testing.assert_allclose(rate_L, wanted_L, rtol=1e-6)
  rising = LayerSkip(layer_dropout=0.4)
  share = [layer_skip.drop_rates(rising, step, STEPS, L)[-1] for step in (0, 50, 100)]
  np.testing.assert_allclose(share, [0, 0.4 * (2**0.5 - 1), 0.4], rtol=1e-6)


@pytest.mark.parametrize('layers', [1, 2])
def test_a_model_of_one_or_two_layers_has_no_early_exit(layers):
  found_L = layer_skip.exit_weights(LayerSkip(), 3, STEPS, layers)
  np.testing.assert_array_equal(found_L, [0.0] * (layers - 1) + [1.0])
  rate_L = layer_skip.drop_rates(LayerSkip(layer_dropout=0.5), 100, STEPS, layers)
  np.testing.assert_allclose(rate_L, [0.0, 0.5][:layers])


def test_scored_exits_are_evenly_spaced():
  def scored(count, num_layers):
    return layer_skip.scored_layers(LayerSkip(eval_exits=count), num_layers)

  assert scored(4, 12) == (3, 6, 9)
  assert scored(4, 3) == (1, 2)
  assert scored(100, 6) == (1, 2, 3, 4, 5)
  assert scored(1, 12) == ()


def test_losses_of_exits_are_metrics_of_an_evaluation():
  sums = {'loss': 6.0, 'accuracy': 1.0, 'targets': 3.0, 'loss_at_layer_2': 9.0}
  found = layer_skip.exit_metrics(sums)
  assert found['loss'] == 2.0
  assert found['loss_at_layer_2'] == 3.0
