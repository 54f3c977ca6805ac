"""Dropout and stochastic depth of the model: off, unbiased, independent, repeatable."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.model import exits, statistics
from tests import small_models as small

SLOW = pytest.mark.slow


def test_dropout_is_off_when_deterministic_and_random_otherwise():
  config = small.resolve(**_model(dict(dropout=0.5, stochastic_depth=0.5)))
  plain = small.make_gpt(small.resolve(**_model({})))
  model, params = small.make_gpt(config), small.random_params(plain)
  tokens_BT = small.random_tokens()
  np.testing.assert_array_equal(
    small.logits_of(model)(params, tokens_BT), small.logits_of(plain)(params, tokens_BT)
  )

  @small.jit
  def noisy(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return model.apply({'params': params}, tokens_BT, deterministic=False, rngs=rngs)[0]

  np.testing.assert_array_equal(noisy(1), noisy(1))
  assert np.abs(noisy(1) - noisy(2)).max() > 0.1
  with pytest.raises(Exception, match='dropout'):
    model.apply({'params': params}, tokens_BT, deterministic=False)


def test_layers_and_branches_draw_different_masks():
  model = small.make_gpt(small.resolve(**_model(dict(residual_dropout=0.5))))
  params, tokens_BT = small.random_params(model), small.random_tokens()

  @small.jit
  def dropped(key):
    _, kept = model.apply(
      {'params': params}, tokens_BT, deterministic=False, rngs={'dropout': key},
      mutable='intermediates',
      capture_intermediates=lambda module, _: isinstance(module, nn.Dropout),
    )  # fmt: skip
    return [leaf == 0 for leaf in jax.tree.leaves(kept)]

  attention_LBTD, mlp_LBTD = dropped(jax.random.key(0))
  for one, other in (
    (attention_LBTD[0], attention_LBTD[1]),
    (attention_LBTD[0], mlp_LBTD[0]),
    (attention_LBTD[0, 0], attention_LBTD[0, 1]),
  ):
    assert 0.3 < (one == other).mean() < 0.7  # independent halves agree in half


@pytest.mark.slow
def test_rematerialising_draws_the_same_dropout_again():
  overrides = dict(dropout=0.3, stochastic_depth=0.2, num_layers=1)
  outputs = []
  for remat in ('none', 'full'):
    model = small.make_gpt(small.resolve(**_model(overrides, remat=remat)))
    params, tokens_BT = small.random_params(model), small.random_tokens()

    def loss(params, model=model, tokens_BT=tokens_BT):
      rngs = {'dropout': jax.random.key(0)}
      logits_BTV, _ = model.apply(
        {'params': params}, tokens_BT, deterministic=False, rngs=rngs
      )
      return jax.nn.logsumexp(logits_BTV, -1).mean()

    outputs.append(small.jit(jax.value_and_grad(loss))(params))
  small.assert_trees_close(*outputs, atol=1e-5)


@pytest.mark.parametrize(
  'field', ['embed_dropout', 'residual_dropout', 'stochastic_depth']
)
def test_dropping_out_keeps_the_mean_of_the_stream(field):
  # Where nothing curved comes after the dropout, means of outputs are outputs of means.
  after = ('down', 'out') if field == 'embed_dropout' else ('down',)
  config = small.resolve(**_model({field: 0.5}, num_layers=1))
  model = small.make_gpt(config)
  params = _silenced(small.random_params(model), *after)
  tokens_BT = small.random_tokens()

  def stream(key, deterministic=False):
    _, kept = model.apply(
      {'params': params}, tokens_BT, deterministic=deterministic,
      rngs={'dropout': key}, capture_intermediates=lambda m, _: m.name == 'layers',
      mutable='intermediates',
    )  # fmt: skip
    return jax.tree.leaves(kept)[0]

  keys = jax.random.split(jax.random.key(0), 2000)
  x_NBTD = small.jit(jax.vmap(stream))(keys)
  wanted_BTD = small.jit(functools.partial(stream, deterministic=True))(keys[0])
  error = np.abs(x_NBTD.mean(0) - wanted_BTD).max()
  spread = np.asarray(x_NBTD).std(0).max()
  assert spread > 0.1
  assert error < 5 * spread / np.sqrt(2000)  # five standard errors


@pytest.mark.slow
def test_stochastic_depth_drops_deeper_branches_more_often():
  overrides = dict(stochastic_depth=0.8, num_layers=4, scan_layers=False)
  model = small.make_gpt(small.resolve(**_model(overrides)))

  @small.jit
  def intermediates(params, tokens_BT):
    return model.apply(
      {'params': params}, tokens_BT, deterministic=False,
      rngs={'dropout': jax.random.key(0)}, mutable='intermediates',
      capture_intermediates=lambda module, _: (module.name or '').startswith('layers_'),
    )[1]  # fmt: skip

  kept = intermediates(small.random_params(model), small.random_tokens(64))
  streams = [kept['intermediates'][f'layers_{i}']['__call__'][0][0] for i in range(4)]
  unchanged = []
  for before, after in zip(streams, streams[1:], strict=False):
    is_same_BT = np.asarray(before == after).all(-1)
    assert (is_same_BT.all(1) == is_same_BT.any(1)).all()  # all of a row or none
    unchanged.append(is_same_BT[:, 0].mean())
  # Both branches of layers 2, 3, 4 are dropped with rates 0.4^2, 0.6^2, 0.8^2.
  np.testing.assert_allclose(unchanged, [0.16, 0.36, 0.64], atol=0.2)
  assert unchanged[0] < unchanged[2]


def _model(overrides, **more):
  return {f'model__{name}': value for name, value in (overrides | more).items()}


def _silenced(params, *names):
  """Returns one-block `params` whose matrices called `names` write nothing."""
  return pytree.map_named(
    lambda name, leaf: leaf * (name.split('/')[-2] not in names), params
  )


@pytest.mark.parametrize('scan_layers', [False, pytest.param(True, marks=SLOW)])
def test_rows_skip_whole_layers_at_the_rates_given(scan_layers):
  overrides = dict(num_layers=3, scan_layers=scan_layers)
  model = small.make_gpt(small.resolve(**_model(overrides)))
  params, tokens_BT = small.random_params(model), small.random_tokens(32)

  @small.jit
  def streams(rate_L):
    _, sown = model.clone(watched=exits.WATCHED).apply(
      {'params': params}, tokens_BT, method='hidden', deterministic=False,
      drop_rate_L=rate_L, rngs={'dropout': jax.random.key(0)},
      mutable=[statistics.COLLECTION],
    )  # fmt: skip
    return exits.stack(sown[statistics.COLLECTION], model.cfg)

  @small.jit
  def plain(params):
    return model.apply({'params': params}, tokens_BT, method='hidden')[0]

  x_LBTD = streams(np.array([0.0, 0.5, 1.0], np.float32))
  np.testing.assert_array_equal(x_LBTD[2], x_LBTD[1])
  is_same_BT = np.asarray(x_LBTD[1] == x_LBTD[0]).all(-1)
  assert (is_same_BT.all(1) == is_same_BT.any(1)).all()  # all of a row or none
  assert 0.2 < is_same_BT[:, 0].mean() < 0.8
  whole = exits.read(model.cfg, params, streams(np.zeros(3, np.float32))[-1])
  np.testing.assert_allclose(whole, plain(params), atol=1e-5)
