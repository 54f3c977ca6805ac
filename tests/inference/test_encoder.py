"""Vectors of texts: pooled by hand, alone and in company, cut, on a mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.inference import encoder
from gpt_jax.inference.encoder import Encoder
from gpt_jax.inference.text import make_engine
from gpt_jax.objectives import Vocab
from gpt_jax.program import build
from tests import small_models as small

END = 256
TEXTS = ['ab', '', 'twenty-four characters..']
FIELDS = dict(
  data__seq_len=32, model__vocab_size=280, model__num_layers=1,
  objective__name='masked_lm', model__pooler=True, model__scan_layers=False,
  data__begin_token='<|endoftext|>',
)  # fmt: skip


@functools.cache
def make(**overrides):
  """Returns (config, parameters, Encoder) of a small bidirectional model."""
  config = small.resolve(**(FIELDS | overrides))
  params = small.random_params(small.make_gpt(config))
  return config, params, Encoder(config, params, ByteTokenizer())


def stream(text, mask, **overrides):
  """Returns the stream over one text, without any padding, [T, D]."""
  config, params, _ = make(**overrides)
  tokens_1T = jnp.array([[END, *text.encode(), END]], jnp.int32)
  model = small.make_gpt(config)

  @small.jit
  def hidden(params, tokens_1T):
    return model.apply({'params': params}, tokens_1T, mask, method='hidden')[0]

  return np.asarray(hidden(params, tokens_1T))[0]


def test_a_vector_is_the_mean_over_the_text_whatever_its_company():
  _, _, made = make()
  vectors = made.embed(TEXTS, normalize=False)
  assert vectors.shape == (3, 16) and vectors.dtype == np.float32
  for text, vector in zip(TEXTS, vectors, strict=True):
    expected = stream(text, masks.bidirectional()).mean(0)
    # The tolerance of float32 sums in another order.
    np.testing.assert_allclose(vector, expected, atol=2e-6)
  (alone,) = made.embed(['ab'], normalize=False)
  np.testing.assert_allclose(vectors[0], alone, atol=2e-6)
  unit = made.embed(TEXTS)
  np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
  assert made.embed([]).shape == (0, 16)


@pytest.mark.parametrize('pooling', ['first', 'last', 'pooler'])
def test_other_poolings_read_one_token(pooling):
  _, params, made = make()
  (vector,) = made.embed(['ab'], pooling=pooling, normalize=False)
  x_TD = stream('ab', masks.bidirectional())
  dense = params['pooler']['dense']
  expected = {
    'first': x_TD[0],
    'last': x_TD[-1],
    'pooler': np.tanh(x_TD[0] @ dense['kernel'] + dense['bias']),
  }
  np.testing.assert_allclose(vector, expected[pooling], atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize('objective', ['causal_lm', 'prefix_lm'])
def test_decoders_have_vectors_too(objective):
  fields = dict(objective__name=objective, model__position='rope', model__pooler=False)
  vectors = make(**fields)[2].embed(TEXTS, pooling='last', normalize=False)
  for text, vector in zip(TEXTS, vectors, strict=True):
    causal = objective == 'causal_lm'
    mask = masks.causal() if causal else masks.prefix(jnp.array([len(text) + 2]))
    np.testing.assert_allclose(vector, stream(text, mask, **fields)[-1], atol=2e-6)


def test_texts_lose_their_end_to_fit_and_it_is_said_once(capsys):
  _, _, made = make(data__seq_len=24)
  long = 'abcdefghijklmnopqrstuvwxyz'
  (ids,) = made.encode([long])
  assert ids.tolist() == [END, *long[:22].encode(), END]
  assert '1 text(s) have more than 24 tokens' in capsys.readouterr().err
  (ids,) = made.encode([long], max_tokens=4)
  assert ids.tolist() == [END, 97, 98, END]
  np.testing.assert_array_equal(made.embed([long]), made.embed([long[:22]]))
  assert capsys.readouterr().err == ''
  with pytest.raises(ConfigError, match='max_tokens=25: learned positions end at'):
    made.encode([long], max_tokens=25)
  with pytest.raises(ConfigError, match='max_tokens=2: leaves no token'):
    made.encode([long], max_tokens=2)


def test_what_a_model_lacks_is_named():
  _, _, made = make(model__pooler=False)
  with pytest.raises(ConfigError, match='has no pooler'):
    made.embed(['a'], pooling='pooler')
  with pytest.raises(ConfigError, match="pooling='max'.*mean"):
    made.embed(['a'], pooling='max')
  _, _, bare = make(data__begin_token='', data__append_eos=False)
  with pytest.raises(ConfigError, match='text 1 is empty'):
    bare.embed(['a', ''])


def test_a_model_without_output_layer_says_what_it_is_for():
  config = small.resolve(**FIELDS, model__head='none')
  with pytest.raises(ConfigError, match='writes and scores no text; `gpt-jax embed`'):
    make_engine(config, None, 257)
  with pytest.raises(ConfigError, match='no output layer. To embed texts'):
    build.build_program(config, vocab=Vocab(257))


def test_batches_are_of_like_lengths_and_bounded(monkeypatch):
  monkeypatch.setattr(encoder, 'TOKENS_AT_ONCE', 64)
  lengths = [3, 17, 4, 40, 5, 16, 18, 2, 300]
  batches = list(encoder._batches(lengths))
  assert batches == [[0, 2, 4, 5], [7], [1, 6], [3], [8]]


@pytest.mark.slow
def test_on_a_mesh_the_vectors_are_the_same():
  from gpt_jax import api
  from gpt_jax.parallel.mesh import make_mesh
  from gpt_jax.parallel.sharding import make_sharding_rules

  config, params, made = make()
  mesh = make_mesh(dict(data=2, fsdp=2, sequence=1, tensor=2, expert=1))
  rules = make_sharding_rules(config.parallel, mesh)
  rules = api.placement.decoding_rules(rules, config.model)
  _, shardings = build.shapes_and_shardings(small.make_gpt(config, rules=rules))
  placed = Encoder(config, jax.device_put(params, shardings), ByteTokenizer(), rules)
  np.testing.assert_allclose(placed.embed(TEXTS), made.embed(TEXTS), atol=1e-5)
