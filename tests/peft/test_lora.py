"""LoRA by its formula, its options, and what it refuses."""

import jax
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.program.build import adapter_of
from tests import small_models
from tests.peft import adapted_models


def make(**options):
  fields = {f'peft__options__{name}': value for name, value in options.items()}
  return peft.make_adapter(small_models.resolve(peft__name='lora', **fields))


def test_a_layer_computes_the_formula():
  program = adapted_models.build('lora', {'model.scan_layers': False})
  params = adapted_models.state_of(program, is_trained=True).params
  leaves = dict(pytree.named_leaves(params))
  path = 'layers_0/block_0/attention/query'
  kernel, a, b = (
    np.asarray(leaves[f'{path}/{name}'], np.float64)
    for name in ('kernel', 'lora_a', 'lora_b')
  )
  seen = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if '/'.join(context.module.path) == path and context.method_name == 'finish':
      seen['x'], seen['y'] = args[0], result
    return result

  tokens_BT = small_models.random_tokens(vocab=32)
  with jax.disable_jit(), peft.adapter.nn.intercept_methods(record):
    program.model.apply({'params': params}, tokens_BT)
  x_BTD = np.asarray(seen['x'], np.float64)
  bias = np.asarray(leaves[f'{path}/bias'])[:, None]
  inner = np.einsum('BTD,DR->BTR', x_BTD, a)
  wanted = np.einsum('BTD,DHK->BHTK', x_BTD, kernel) + bias
  wanted += 16 / 2 * np.einsum('BTR,RHK->BHTK', inner, b)
  np.testing.assert_allclose(seen['y'], wanted, rtol=1e-4, atol=1e-5)


def test_its_size_is_that_of_the_factors():
  adapter = make(rank=3, targets='query')
  shapes = {name: leaf.shape for name, leaf in adapter.added.items()}
  path = 'layers/block_0/attention/query'
  assert shapes == {f'{path}/lora_a': (2, 16, 3), f'{path}/lora_b': (2, 3, 4, 4)}


def test_the_scale_is_alpha_over_rank_or_its_root():
  assert peft.lora.scale_of(4, 16, False) == 4
  assert peft.lora.scale_of(4, 16, True) == 8


def test_dropout_acts_in_training_alone():
  program = adapted_models.build('lora', {'peft.options.dropout': 0.5})
  state = adapted_models.state_of(program, is_trained=True)
  tokens_BT = small_models.random_tokens(vocab=32)

  def logits(rng):
    return program.model.apply(
      {'params': state.params}, tokens_BT, deterministic=rng is None,
      rngs=None if rng is None else {'dropout': rng},
    )[0]  # fmt: skip

  one, other = logits(jax.random.key(0)), logits(jax.random.key(1))
  assert np.abs(one - other).max() > 1e-3
  np.testing.assert_array_equal(logits(None), logits(None))


def test_biases_train_where_they_are_asked_for():
  name = 'layers/block_0/attention/query/bias'
  norm = 'layers/block_0/attention_norm/bias'
  assert make(biases='none').is_frozen(name)
  targets = make(biases='targets')
  assert (targets.is_frozen(name), targets.is_frozen(norm)) == (False, True)
  assert not make(biases='all').is_frozen(norm)


def test_unknown_targets_name_the_nearest():
  with pytest.raises(ConfigError, match=r"targets='qery': matches no.*'query'"):
    make(targets='qery')


def test_a_broken_pattern_is_said():
  with pytest.raises(ConfigError, match='expected a regular expression'):
    make(targets='query(')


def test_a_rank_above_the_matrix_is_refused():
  with pytest.raises(ConfigError, match=r'rank=17: more than .*query of 16 x 16'):
    make(rank=17)
  adapter = make(rank=64, targets='query', rank_pattern={'query': 4})
  assert adapter.added['layers/block_0/attention/query/lora_a'].shape[-1] == 4


def test_a_rank_pattern_that_matches_nothing_is_refused():
  with pytest.raises(ConfigError, match=r"rank_pattern\['up'\]: matches none"):
    make(rank_pattern={'up': 2})
  with pytest.raises(ConfigError, match=r"rank_pattern\['query'\]=0: expected"):
    make(rank_pattern={'query': 0})


def test_an_unknown_method_names_the_nearest():
  with pytest.raises(ConfigError, match=r"peft\.name='lore'.*'lora'"):
    small_models.resolve(peft__name='lore')


def test_task_heads_always_train():
  assert not make().is_frozen('task_head/kernel')
  program = adapted_models.build('lora')
  assert set(adapter_of(program.model).added).isdisjoint(program.frozen)
