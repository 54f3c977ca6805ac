"""Distances of hidden states: the formulas, which layers, what no layer is."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.program import hidden_distance
from gpt_jax.program.state import PROJECTIONS
from tests import tiny_runs


def streams(width=4, layers=2):
  rng = np.random.default_rng(width)
  return rng.normal(size=(layers, 2, 3, width)).astype(np.float32)


def forward(streams_LBTD, params=None):
  return types.SimpleNamespace(streams_LBTD=streams_LBTD, params=params or {})


def example(segments=None):
  mask = masks.causal(None if segments is None else jnp.array(segments))
  return types.SimpleNamespace(
    inputs_BT=jnp.zeros((2, 3), jnp.int32),
    mask=mask,
    weights_BT=jnp.ones((2, 3)),
    loss_weights_BT=None,
  )


def test_distances_are_those_of_numpy():
  x, y = streams(layers=2)
  cos = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
  np.testing.assert_allclose(hidden_distance.cosine(x, y), 1 - cos, atol=1e-6)
  wanted = ((x - y) ** 2).mean(-1)
  np.testing.assert_allclose(hidden_distance.mean_square(x, y), wanted, rtol=1e-6)


def test_the_total_is_a_mean_over_pairs_and_tokens():
  ours, theirs = streams(layers=2), 1 + streams(layers=3)
  pairs = (1, 2), (2, 3)
  found = hidden_distance.total(
    'mse', pairs, forward(ours), forward(theirs), example([[1, 1, 0], [1, 1, 1]])
  )
  wanted = 0.0
  for a, b in pairs:
    distance_BT = ((ours[a - 1] - theirs[b - 1]) ** 2).mean(-1)
    # A row has the weight of its three targets, and the mean of its tokens.
    wanted += 3 * distance_BT[0, :2].mean() + 3 * distance_BT[1].mean()
  np.testing.assert_allclose(found, wanted / 2, rtol=1e-6)


def test_a_matrix_leads_to_the_width_of_the_teacher():
  ours, theirs = streams(4, layers=1), streams(6, layers=1)
  kernel = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
  params = {PROJECTIONS: {'layer_1_to_1': {'kernel': kernel}}}
  found = hidden_distance.total(
    'mse', ((1, 1),), forward(ours, params), forward(theirs), example()
  )
  wanted = ((ours[0] @ kernel - theirs[0]) ** 2).mean(-1).sum()
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_layers_learn_from_those_at_the_same_depth():
  fields = {'distill.teacher': 'teacher', 'distill.hidden_weight': 1.0}
  config = tiny_runs.tiny_config(fields)
  teacher = tiny_runs.tiny_config({'model.num_layers': 6})
  assert hidden_distance.pairs(config, teacher) == ((1, 3), (2, 6))
  config = tiny_runs.tiny_config(fields | {'distill.layers': '1:2,2:5'})
  assert hidden_distance.pairs(config, teacher) == ((1, 2), (2, 5))
  assert hidden_distance.pairs(tiny_runs.tiny_config(), teacher) == ()


@pytest.mark.parametrize('text', ['', '3', '1:', ':2', 'a:b', '1:2:3', '-1:2'])
def test_what_is_no_pair_of_layers_is_refused(text):
  with pytest.raises(ValueError):
    hidden_distance.parse(text)
