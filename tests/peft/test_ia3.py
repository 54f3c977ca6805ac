"""(IA)^3 against scaled parameters of the plain model, and what it refuses."""

import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import ia3
from gpt_jax.program.build import adapter_of
from tests import tiny_runs
from tests.peft import adapted_models

OUT = {'peft.options.targets': '', 'peft.options.feedforward_targets': 'attention/out'}


def config(fields):
  return tiny_runs.tiny_config({'peft.name': 'ia3', 'model.vocab_size': 32} | fields)


def test_the_vectors_are_those_of_the_paper():
  added = adapter_of(adapted_models.build('ia3').model).added
  assert {name: leaf.shape for name, leaf in added.items()} == {
    'layers/block_0/attention/key/ia3': (2, 1, 16),
    'layers/block_0/attention/value/ia3': (2, 1, 16),
    'layers/block_0/mlp/down/ia3': (2, 48),
  }


def test_keys_values_and_hidden_units_are_multiplied():
  program, plain = adapted_models.build('ia3'), adapted_models.build(None)
  params = adapted_models.state_of(program, is_trained=True).params
  leaves = dict(pytree.named_leaves(params))
  by_hand = dict(pytree.named_leaves(adapted_models.base_of(program, params)))
  block = 'layers/block_0'
  for name in ('key', 'value'):
    path = f'{block}/attention/{name}'
    vector_LGK = leaves[f'{path}/ia3']
    by_hand[f'{path}/kernel'] = leaves[f'{path}/kernel'] * vector_LGK[:, None]
    by_hand[f'{path}/bias'] = leaves[f'{path}/bias'] * vector_LGK
  down = f'{block}/mlp/down'
  by_hand[f'{down}/kernel'] = (
    leaves[f'{down}/kernel'] * leaves[f'{down}/ia3'][:, :, None]
  )
  found = adapted_models.logits(program, params)
  wanted = adapted_models.logits(plain, pytree.nested(by_hand))
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  assert np.abs(wanted - adapted_models.logits(plain, params)).max() > 1e-2


def test_heads_are_scaled_before_the_output_projection():
  program, plain = adapted_models.build('ia3', OUT), adapted_models.build(None)
  params = adapted_models.state_of(program, is_trained=True).params
  merged = adapted_models.merged(program, params)
  np.testing.assert_allclose(
    adapted_models.logits(program, params),
    adapted_models.logits(plain, merged),
    atol=1e-5,
  )
  out = 'layers/block_0/attention/out'
  leaves, made = (dict(pytree.named_leaves(tree)) for tree in (params, merged))
  np.testing.assert_allclose(
    made[f'{out}/kernel'], leaves[f'{out}/kernel'] * leaves[f'{out}/ia3'][..., None]
  )
  np.testing.assert_array_equal(made[f'{out}/bias'], leaves[f'{out}/bias'])


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'targets': 'keys'}, "targets='keys': matches no linear map.*'key'"),
    ({'targets': 'down'}, 'as feedforward_targets does'),
    ({'targets': '', 'feedforward_targets': ''}, 'nothing would train'),
    ({'feedforward_targets': 'mlp/up'}, 'expected some of mlp/down and attention/out'),
  ],
)
def test_targets_that_cannot_be_say_why(fields, message):
  fields = {f'peft.options.{name}': value for name, value in fields.items()}
  with pytest.raises(ConfigError, match=message):
    ia3.make(config(fields))
