"""/v1/embeddings and /v1/classify give what a Run says of texts."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import api
from gpt_jax.attention import bind, dense
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from gpt_jax.serving.model import CLASSES, VECTORS
from tests import small_models as small
from tests.serving import served


@functools.cache
def classes_run():
  """Returns a Run of a small random model with a head of three classes."""
  tokenizer = ByteTokenizer()
  config = small.resolve(
    data__seq_len=32, model__vocab_size=tokenizer.vocab_size, model__num_layers=1,
    objective__name='class_labels', objective__options__num_labels=3,
  )  # fmt: skip
  kernel = bind(dense.attend, config.model)
  model = GPT(config.model, kernel, None, make_head(config, 3))
  tokens = jnp.zeros((1, 1), int)
  params = nn.unbox(jax.jit(model.init)(jax.random.key(0), tokens)['params'])
  return api.Run(config, model, params, tokenizer, 1)


@pytest.fixture(scope='module')
def classes():
  load = functools.partial(served.load, run=classes_run())
  with served.serve(served.models(load=load)) as server:
    yield server


def test_a_model_of_classes_says_what_it_can(classes):
  model = classes.models.get(served.NAME).model
  assert model.abilities == {VECTORS, CLASSES}
  found = classes.post('/v1/completions', prompt='ab')
  assert found.status_code == 400 and '/v1/classify' in found.json()['error']['message']


def test_classes_are_those_of_the_run(classes):
  texts = ['ab', 'something else']
  found = classes.post('/v1/classify', input=texts).json()['data']
  wanted = classes_run().classify(texts)
  for one, row_C in zip(found, wanted, strict=True):
    shares = one['prediction']['probabilities']
    np.testing.assert_allclose(list(shares.values()), row_C, atol=1e-6)
    assert one['prediction']['label'] == str(int(np.argmax(row_C)))


def test_vectors_are_those_of_the_run_by_any_pooling(server):
  for pooling in ('mean', 'last'):
    found = server.post('/v1/embeddings', input='ab', pooling=pooling).json()
    wanted = served.run_of().embed('ab', pooling=pooling)
    np.testing.assert_allclose(found['data'][0]['embedding'], wanted, atol=1e-6)


@pytest.mark.parametrize('texts', [[], '', [''], ['x'] * 257, 5, [1, 2], None])
def test_inputs_that_are_no_texts_are_refused(server, texts):
  assert server.post('/v1/embeddings', input=texts).status_code == 400
