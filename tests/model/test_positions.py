"""Encodings of positions against the formulas and properties of their papers."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.model import positions
from tests import numpy_gpt
from tests import small_models as small

K = 8


def angles(positions_BT, **overrides):
  options = {f'rope_{name}': value for name, value in overrides.items()}
  cfg = small.model_config(head_dim=K, position='rope', **options)
  return positions.rope_angles(cfg, jnp.asarray(positions_BT))


def slopes(num_heads):
  return positions.alibi_slopes(small.model_config(num_heads=num_heads, head_dim=K))


def random_heads(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_rope_multiplies_complex_numbers():
  x_BHTK = random_heads(1, 2, 5, K)
  rotated_BHTK = positions.rotate(x_BHTK, angles([[0, 1, 2, 3, 4]]))
  for h in range(2):
    expected_TK = numpy_gpt.rotate(x_BHTK[0, h].astype(np.float64), 10_000.0)
    np.testing.assert_allclose(rotated_BHTK[0, h], expected_TK, atol=1e-5)


def test_rope_scores_depend_only_on_the_distance():
  q_BHTK, k_BHTK = random_heads(2, 1, 1, 1, K)

  def score(query_position, key_position):
    q = positions.rotate(q_BHTK, angles([[query_position]]))
    k = positions.rotate(k_BHTK, angles([[key_position]]))
    return float(jnp.vdot(q, k))

  for distance in (0, 1, 7):
    scores = [score(start + distance, start) for start in (0, 3, 50, 1000)]
    # At position 1000 an angle in float32 is exact to 6e-5 radians.
    np.testing.assert_allclose(scores, scores[0], atol=1e-3)
  assert abs(score(5, 0) - score(6, 0)) > 1e-2


def test_rope_keeps_norms_dtype_and_position_zero():
  x_BHTK = jnp.asarray(random_heads(1, 1, 3, K), jnp.bfloat16)
  rotated = positions.rotate(x_BHTK, angles([[0, 1, 2]]))
  assert rotated.dtype == jnp.bfloat16
  np.testing.assert_array_equal(rotated[:, :, 0], x_BHTK[:, :, 0])
  lengths = [np.linalg.norm(y.astype(jnp.float32), axis=-1) for y in (rotated, x_BHTK)]
  np.testing.assert_allclose(*lengths, rtol=1e-2)


def test_angles_are_positions_times_falling_frequencies():
  angles_K2 = angles([[3]])[0, 0]
  expected_K2 = [3 / 10_000 ** (2 * i / K) for i in range(K // 2)]
  np.testing.assert_allclose(angles_K2, expected_K2, rtol=1e-6)


def test_linear_scaling_divides_positions():
  scaled = angles([[8, 12]], scaling='linear', factor=4.0)
  np.testing.assert_allclose(scaled, angles([[2, 3]]), rtol=1e-6)


def test_ntk_scaling_slows_the_slowest_pair_by_the_factor():
  plain_K2, scaled_K2 = angles([[1]])[0, 0], angles([[1]], scaling='ntk', factor=4.0)
  ratio_K2 = np.asarray(plain_K2 / scaled_K2[0, 0])
  assert ratio_K2[0] == 1.0
  assert ratio_K2[-1] == pytest.approx(4.0, rel=1e-5)


def test_llama3_scaling_divides_only_low_frequencies():
  options = dict(theta=500_000.0, scaling='llama3', factor=8.0, original_len=64)
  scaled_K2 = np.asarray(angles([[1]], **options))[0, 0]
  for i in range(K // 2):
    frequency = 500_000.0 ** (-2 * i / K)
    periods = 64 * frequency / (2 * math.pi)
    share = min(max((periods - 1) / 3, 0), 1)  # high and low frequency factors 4 and 1
    expected = frequency * (share + (1 - share) / 8)
    assert scaled_K2[i] == pytest.approx(expected, rel=1e-5)
  assert scaled_K2[0] == 1.0


def test_sinusoids_equal_the_formula_position_by_position():
  cfg = small.model_config(d_model=10, num_heads=5)
  sinusoids_BTD = positions.sinusoids(cfg, jnp.arange(7)[None])
  np.testing.assert_allclose(sinusoids_BTD[0], numpy_gpt.sinusoids(7, 10), atol=1e-6)


def test_alibi_slopes_of_8_heads_are_those_of_the_paper():
  expected_H = [1 / 2**i for i in range(1, 9)]
  np.testing.assert_array_equal(slopes(8), expected_H)


@pytest.mark.parametrize('num_heads', [1, 2, 4, 16, 64])
def test_alibi_slopes_are_a_geometric_series(num_heads):
  slopes_H = slopes(num_heads)
  expected_H = [numpy_gpt.alibi_slope(h, num_heads) for h in range(num_heads)]
  np.testing.assert_allclose(slopes_H, expected_H, rtol=1e-6)


def test_12_heads_take_8_slopes_and_every_second_of_16():
  slopes_H = slopes(12)
  between_H = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
  expected_H = [*slopes(8), *between_H]
  np.testing.assert_allclose(slopes_H, expected_H, rtol=1e-6)


def test_a_new_encoding_is_one_entry(monkeypatch):
  """Partial RoPE: only the first half of each head is rotated."""

  def rotate(x_BHTK, angles_BTK2):
    first, rest = jnp.split(x_BHTK, 2, axis=-1)
    rotated = positions.rotate(first, angles_BTK2[..., : K // 4])
    return jnp.concatenate([rotated, rest], axis=-1)

  partial = positions.Position(angles=positions.rope_angles, rotate=rotate)
  monkeypatch.setitem(positions.POSITIONS, 'partial', partial)
  config = small.resolve(model__position='rope', model__head_dim=K)
  params, logits = small.random_params(small.make_gpt(config)), {}
  for name in ('none', 'partial', 'rope'):
    cfg = dataclasses.replace(config.model, position=name)
    model = small.make_gpt(dataclasses.replace(config, model=cfg))
    logits[name] = small.logits_of(model)(params, small.random_tokens())
  np.testing.assert_allclose(logits['partial'][:, 0], logits['rope'][:, 0], atol=1e-5)
  for other in ('none', 'rope'):
    assert np.abs(logits['partial'] - logits[other]).max() > 1e-2
