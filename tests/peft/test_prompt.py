"""Prompt tuning is the plain model that reads the embeddings before the text."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from tests import small_models as small
from tests.peft import virtual_models as virtual

IDS = [5, 2, 9]
"""Real tokens, whose embeddings the prompt has: then ids are an oracle."""

CASES = virtual.GPTS | {
  'narrow windows': dict(
    model__position='rope', model__layer_pattern=('local:4', 'global')
  ),
  'alibi': dict(model__position='alibi'),
  'scaled embeddings': dict(model__scale_embeddings=True),
}


def make(kernel='dense', **fields):
  adapted, plain, params = virtual.make('prompt', kernel, **fields)
  leaves = virtual.leaves(params)
  leaves |= adapted.adapter.begin(leaves, ids=np.array(IDS))
  return adapted, plain, peft.with_leaves(params, leaves)


def with_ids(tokens_BT):
  return np.concatenate([np.tile(IDS, (len(tokens_BT), 1)), tokens_BT], axis=1)


@pytest.mark.parametrize('kernel', ['dense', 'blockwise'])
@pytest.mark.parametrize('case', CASES)
def test_outputs_are_those_after_the_embedded_tokens(case, kernel):
  adapted, plain, params = make(kernel, **CASES[case])
  tokens_BT = small.random_tokens()
  tree = virtual.plain_params(adapted, params)
  expected = small.logits_of(plain)(tree, with_ids(tokens_BT))[:, virtual.P :]
  virtual.is_close(small.logits_of(adapted)(params, tokens_BT), expected)


def test_an_encoders_prompt_sees_the_text_of_its_row():
  fields = dict(
    model__norm_position='post', model__token_types=2, objective__name='masked_lm'
  )
  adapted, plain, params = make(**fields)
  tokens_BT = small.random_tokens()
  segments_BT = (np.arange(8) < np.array([[5], [8]])).astype(np.int32)
  longer_BT = np.concatenate([np.ones((2, virtual.P), np.int32), segments_BT], axis=1)
  tree = virtual.plain_params(adapted, params)
  expected = small.logits_of(plain)(
    tree, with_ids(tokens_BT), masks.bidirectional(longer_BT)
  )
  found = small.logits_of(adapted)(params, tokens_BT, masks.bidirectional(segments_BT))
  virtual.is_close(found, expected[:, virtual.P :])


def test_gradients_are_those_of_the_embeddings_in_each_row():
  adapted, plain, params = make()
  tokens_BT = small.random_tokens()
  more = plain.clone(cfg=dataclasses.replace(plain.cfg, vocab_size=16 + virtual.P))

  def loss(params, prompt_PD):
    embed = params['embed'] | {'prompt': prompt_PD}
    logits_BTV, _ = adapted.apply({'params': params | {'embed': embed}}, tokens_BT)
    return jax.nn.logsumexp(logits_BTV, -1).sum()

  def plain_loss(params, prompt_PD):
    # New tokens, whose rows are the prompt.
    rows_VD = jnp.concatenate([params['embed']['embedding'], prompt_PD])
    tree = params | {'embed': {'embedding': rows_VD}}
    ids_BP = np.tile(np.arange(virtual.P) + 16, (2, 1))
    logits_BTV, _ = more.apply({'params': tree}, np.concatenate([ids_BP, tokens_BT], 1))
    return jax.nn.logsumexp(logits_BTV[:, virtual.P :, :16], -1).sum()

  prompt_PD = params['embed']['prompt']
  tree = virtual.plain_params(adapted, params)
  found = small.jit(jax.grad(loss, 1))(params, prompt_PD)
  virtual.is_close(found, small.jit(jax.grad(plain_loss, 1))(tree, prompt_PD), 1e-4)


def test_a_prompt_begins_as_tokens_of_the_vocabulary():
  adapter = virtual.make('prompt')[0].adapter
  rows_VD = np.arange(32.0).reshape(16, 2)
  leaves = {'embed/embedding': rows_VD}
  (again,) = adapter.begin(leaves, ids=np.array([4, 7])).values()
  np.testing.assert_array_equal(again, rows_VD[[4, 7, 4]])
  (random,) = adapter.begin(leaves).values()
  assert all(row in rows_VD.tolist() for row in np.asarray(random).tolist())


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      dict(objective__name='masked_lm', data__packing='first_fit'),
      r"data.packing='first_fit'.*peft.name=\"p_tuning_v2\"",
    ),
    (
      dict(
        model__layer_pattern=('local:4',), model__position='rope',
        data__mask_documents=True,
      ),
      'model.layer_pattern: layers look at how far',
    ),
    (
      dict(model__position='alibi', data__packing='first_fit'),
      'model.position: layers look at how far',
    ),
    (
      dict(regularization__adversarial='fgm'),
      "regularization.adversarial='fgm'.*set it to 'none'",
    ),
  ],
)  # fmt: skip
def test_rows_that_cannot_have_a_prompt_are_refused(fields, message):
  with pytest.raises(ConfigError, match=message):
    peft.make_adapter(virtual.config_of('prompt', **fields))
