"""Tokens that leave early: the right logits, and the right cache of skipped layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.config.schema import parse_layer
from gpt_jax.inference import early_exit
from gpt_jax.inference.early_exit import ExitRule
from gpt_jax.model import exits, positions
from gpt_jax.model.cache import empty_cache
from gpt_jax.model.gpt import Block
from tests import small_models as small

L, T, PROMPT = 4, 8, 3
SHAPES = {
  'rope, grouped': dict(
    position='rope', num_kv_heads=2, norm='rmsnorm', tie_embeddings=False
  ),
  'local layers': dict(layer_pattern=('local:3', 'global')),
  'post-norm': dict(norm_position='post'),
}
SOME = pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name != 'rope, grouped'))
    for name in SHAPES
  ],
)


def make(name):
  fields = dict(num_layers=L, scan_layers=False) | SHAPES[name]
  model = small.make_gpt(small.resolve(**{f'model__{k}': v for k, v in fields.items()}))
  return model, small.random_params(model)


def decode(model, params, tokens_BT, threshold_BT, rule, depth=L):
  """Returns (logits [B, N, V], layers used [B, N], cache); the prompt is read whole."""
  model = model.clone(cfg=dataclasses.replace(model.cfg, num_layers=depth))
  B = len(tokens_BT)

  @small.jit
  def run(params):
    cache = empty_cache(model.cfg, B, 16)
    _, cache = model.apply({'params': params}, tokens_BT[:, :PROMPT], cache=cache)

    def step(cache, place):
      token_B, threshold_B = place
      logits_BV, cache, used_B = early_exit.read_token(
        model, params, token_B, cache, threshold_B, rule
      )
      return cache, (logits_BV, used_B)

    rest = (jnp.asarray(tokens_BT[:, PROMPT:].T), jnp.asarray(threshold_BT.T))
    cache, (logits_NBV, used_NB) = jax.lax.scan(step, cache, rest)
    return logits_NBV.swapaxes(0, 1), used_NB.T, cache

  return run(params)


def with_exits(model, params, tokens_BT, used_BT):
  """Returns logits [B, T, V] without a cache: each stream stops after `used` layers."""
  cfg = model.cfg
  positions_BT = jnp.broadcast_to(jnp.arange(T), tokens_BT.shape)
  angles = positions.angles_of_layers(cfg, positions_BT)
  x_BTD = exits.embedded(model, params, tokens_BT, positions_BT)
  cycle = len(cfg.layer_pattern)
  for layer in range(cfg.num_layers):
    window = parse_layer(cfg.layer_pattern[layer % cycle])
    block = Block(cfg, model.attend, None, window, True)
    inner = params[f'layers_{layer // cycle}'][f'block_{layer % cycle}']
    new_BTD, _ = block.apply(
      {'params': inner}, x_BTD, masks.causal(), angles, None, None, 0.0
    )
    x_BTD = jnp.where(layer < used_BT[..., None], new_BTD, x_BTD)
  x_BTD = exits.read(cfg, params, x_BTD)
  return jnp.einsum('BTD,VD->BTV', x_BTD, exits.head(cfg, params))


@SOME
def test_skipped_layers_see_the_stream_of_the_exit(name):
  model, params = make(name)
  tokens_BT = small.random_tokens(batch=3, length=T)
  # Every row and place has a threshold of its own, some of them within reach.
  draw = np.random.default_rng(1).uniform(0, 1, (3, T - PROMPT)) ** 4
  rule = ExitRule(measure='margin', threshold=0.5)
  logits_BNV, used_BN, _ = decode(
    model, params, tokens_BT, draw.astype(np.float32), rule
  )
  assert len(np.unique(used_BN)) > 1
  prompt_BP = np.full((3, PROMPT), L)
  used_BT = np.concatenate([prompt_BP, np.asarray(used_BN)], axis=1)
  wanted_BTV = small.jit(lambda params: with_exits(model, params, tokens_BT, used_BT))(
    params
  )
  np.testing.assert_allclose(logits_BNV, wanted_BTV[:, PROMPT:], atol=2e-4)


@pytest.mark.slow
@SOME
@pytest.mark.parametrize('measure', ['margin', 'similarity'])
def test_a_threshold_that_is_never_reached_changes_nothing(name, measure):
  model, params = make(name)
  tokens_BT = small.random_tokens(length=T)
  never_BN = np.ones((2, T - PROMPT), np.float32)
  rule = ExitRule(measure=measure, threshold=1.0)
  logits_BNV, used_BN, cache = decode(model, params, tokens_BT, never_BN, rule)
  assert np.all(used_BN == L)
  wanted_BTV = small.logits_of(model)(params, tokens_BT)
  np.testing.assert_allclose(logits_BNV, wanted_BTV[:, PROMPT:], atol=2e-5)
  assert cache['length_B'].tolist() == [T, T]


@pytest.mark.slow
def test_leaving_after_two_layers_is_a_model_of_two_layers():
  model, params = make('rope, grouped')
  tokens_BT = small.random_tokens(length=T)
  rule = ExitRule(measure='margin', threshold=0.0, after=2)
  at_once_BN = np.zeros((2, T - PROMPT), np.float32)
  logits_BNV, used_BN, _ = decode(model, params, tokens_BT, at_once_BN, rule)
  assert np.all(used_BN == 2)
  shallow = model.clone(cfg=dataclasses.replace(model.cfg, num_layers=2))
  wanted_BTV = small.logits_of(shallow)(params, tokens_BT)
  np.testing.assert_allclose(logits_BNV, wanted_BTV[:, PROMPT:], atol=2e-5)


def test_the_threshold_falls_as_the_paper_says():
  rule = ExitRule(measure='margin', threshold=0.8, decay=4.0)
  found = rule.thresholds(jnp.array([0, 50, 100]), jnp.full(3, 100))
  wanted = [0.72 + 0.1, 0.72 + 0.1 * np.exp(-2), 0.72 + 0.1 * np.exp(-4)]
  np.testing.assert_allclose(found, wanted, rtol=1e-6)
  constant = ExitRule(measure='margin', threshold=0.8)
  np.testing.assert_allclose(constant.thresholds(jnp.arange(3), jnp.full(3, 9)), 0.8)


def test_similarity_is_the_cosine_of_two_streams():
  rng = np.random.default_rng(0)
  before_B1D, after_B1D = rng.normal(size=(2, 5, 1, 8)).astype(np.float32)
  found_B = early_exit.MEASURES['similarity'](None, before_B1D, after_B1D)
  norms_B = np.linalg.norm(before_B1D, axis=-1) * np.linalg.norm(after_B1D, axis=-1)
  wanted_B = (before_B1D * after_B1D).sum(-1) / norms_B
  np.testing.assert_allclose(found_B, wanted_B[:, 0], rtol=1e-5)
