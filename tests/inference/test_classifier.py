"""Probabilities of classes: those of evaluation, alone and in company."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import bind, dense, masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.inference.classifier import Classifier
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from tests import small_models as small

END = 256
TEXTS = ['ab', 'some longer text', 'c']
FIELDS = dict(
  data__seq_len=32, model__vocab_size=280, model__num_layers=1,
  model__scan_layers=False, objective__name='class_labels',
  objective__options__num_labels=3, data__begin_token='<|endoftext|>',
)  # fmt: skip


def make(**overrides):
  """Returns (config, model, parameters, Classifier)."""
  config = small.resolve(**(FIELDS | overrides))
  model = GPT(
    config.model, bind(dense.attend, config.model), None, make_head(config, 3)
  )
  variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), int))
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), leaf.dtype),
    nn.unbox(variables['params']),
  )
  return config, model, params, Classifier(config, params, ByteTokenizer())


@pytest.mark.parametrize(
  'pooling, attention',
  [
    ('first', 'bidirectional'),
    pytest.param('last', 'causal', marks=pytest.mark.slow),
  ],
)
def test_classes_are_those_of_the_head_over_the_text(pooling, attention):
  options = dict(
    objective__options__pooling=pooling, objective__options__attention=attention
  )
  _, model, params, made = make(**options)
  found = made.classify(TEXTS)
  np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
  tokens_1T = jnp.array([[END, *TEXTS[1].encode(), END]])
  mask = getattr(masks, attention)()
  outputs_1TC, _ = model.apply({'params': params}, tokens_1T, mask)
  place = 0 if pooling == 'first' else -2  # 'last' has not read the end token
  expected = jax.nn.softmax(outputs_1TC[0, place])
  np.testing.assert_allclose(found[1], expected, atol=1e-5)
  np.testing.assert_allclose(made.classify(['ab'])[0], found[0], atol=1e-6)


def test_models_without_classes_are_refused():
  config = small.resolve(objective__name='causal_lm')
  with pytest.raises(ConfigError, match='gives texts no classes'):
    Classifier(config, None, ByteTokenizer())
