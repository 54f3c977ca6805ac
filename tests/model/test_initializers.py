"""How parameters start: the deviation of each tensor, and the stream it makes."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.model import initializers
from tests import small_models as small

D, F, L, V = 64, 256, 2, 512
WIDE = dict(
  model__d_model=D, model__num_layers=L, model__vocab_size=V,
  model__tie_embeddings=False, model__activation='swiglu', model__d_ff=F,
)  # fmt: skip

RESIDUAL = ('attention/out/kernel', 'mlp/down/kernel')
HIDDEN = ('key/kernel', 'value/kernel', 'up/kernel', 'gate/kernel')


def initial(**overrides):
  """Returns `{name: leaf}` of the freshly initialized wide model."""
  model = small.make_gpt(small.resolve(**WIDE | overrides))
  init = small.jit(lambda key: model.init(key, jnp.zeros((1, 1), jnp.int32))['params'])
  return dict(pytree.named_leaves(nn.unbox(init(jax.random.key(0)))))


def expected_std(init, name):
  if 'norm' in name or name.endswith('bias'):
    return 0.0
  if init == 'fan_in':
    if 'embed' in name or name.startswith('position'):
      return 1 / math.sqrt(D)
    return 1 / math.sqrt(F if 'down' in name else D)
  if init == 'mup' and ('query' in name or name.startswith('head')):
    return 0.0
  # muP: the base width is 16, a quarter of D, so matrices start half as wide.
  matrix = 0.01 if init == 'mup' else 0.02
  if any(part in name for part in RESIDUAL):
    return matrix / math.sqrt(2 * L)
  return 0.02 if 'embedding' in name else matrix


@pytest.mark.parametrize('init', ['gpt2', 'fan_in', 'mup'])
def test_every_tensor_has_the_standard_deviation_of_its_rule(init):
  for name, leaf in initial(model__init=init, model__mup_base_width=16).items():
    leaf, wanted = np.asarray(leaf), expected_std(init, name)
    if wanted == 0.0:
      value = 1.0 if name.endswith('scale') else 0.0
      assert (leaf == value).all(), name
    else:
      # Relative error of a deviation of n numbers: 1/sqrt(2n); five of them.
      assert leaf.std() == pytest.approx(wanted, rel=5 / math.sqrt(2 * leaf.size)), name
      assert abs(leaf.mean()) < 5 * wanted / math.sqrt(leaf.size), name


def test_fan_in_is_truncated_with_the_standard_deviation_asked():
  draw = initializers.truncated_normal(0.5)(jax.random.key(0), (200_000,), 'float32')
  assert np.abs(draw).max() <= 2 * 0.5 / 0.8796 + 1e-6
  assert np.std(draw) == pytest.approx(0.5, rel=0.01)


def test_layers_of_the_scan_start_differently():
  leaf = initial()['layers/block_0/mlp/up/kernel']
  assert np.abs(leaf[0] - leaf[1]).max() > 0.01


@pytest.mark.slow
def test_gpt2s_rule_keeps_the_streams_variance_with_depth():
  """RMS after 2 and after 16 layers: alike with 1/sqrt(2L), growing without it."""
  scaled, unscaled = {}, {}
  for num_layers in (2, 16):
    config = small.resolve(**WIDE | dict(
      model__num_layers=num_layers, model__init_std=0.1, model__activation='gelu',
    ))  # fmt: skip
    model = small.make_gpt(config)
    tokens_BT = small.random_tokens(2, 8, V)

    @small.jit
    def stream_rms(key, undo, model=model, tokens_BT=tokens_BT):
      params = nn.unbox(model.init(key, tokens_BT)['params'])
      params = pytree.map_named(
        lambda name, leaf: leaf * undo if name.endswith(RESIDUAL) else leaf, params
      )
      _, kept = model.apply(
        {'params': params}, tokens_BT, mutable='intermediates',
        capture_intermediates=lambda module, _: module.name == 'layers',
      )  # fmt: skip
      return jnp.sqrt(jnp.square(jax.tree.leaves(kept)[0]).mean())

    key = jax.random.key(0)
    scaled[num_layers] = stream_rms(key, 1.0)
    unscaled[num_layers] = stream_rms(key, math.sqrt(2 * num_layers))
  assert 1 / 1.3 < scaled[16] / scaled[2] < 1.3
  assert unscaled[16] / unscaled[2] > 2


def test_logits_start_near_uniform():
  model = small.make_gpt(small.resolve(**WIDE))
  tokens_BT = small.random_tokens(1, 8, V)
  logits_BTV, _ = small.jit(model.init_with_output)(jax.random.key(0), tokens_BT)[0]
  assert np.abs(logits_BTV).max() < 1


def test_mup_divides_logits_by_the_width_ratio():
  config = small.resolve(**WIDE | dict(model__init='mup', model__mup_base_width=16))
  assert initializers.output_multiplier(config.model) == 16 / 64
  plain = small.resolve(**WIDE)
  assert initializers.output_multiplier(plain.model) == 1


def test_at_its_base_width_mup_starts_matrices_like_gpt2():
  mup = small.model_config(init='mup', mup_base_width=16)
  gpt2 = small.model_config()
  key = jax.random.key(0)
  for make in (initializers.hidden, initializers.residual):
    np.testing.assert_array_equal(
      make(mup, 16)(key, (4, 4), 'float32'), make(gpt2, 16)(key, (4, 4), 'float32')
    )
