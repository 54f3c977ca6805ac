"""BitFit: which biases train, in which models."""

import pytest

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import bitfit
from tests import tiny_runs
from tests.peft import adapted_models

LAYERNORM = {
  'model.norm': 'layernorm', 'model.norm_bias': True, 'model.head_bias': True,
  'objective.loss': 'plain',
}  # fmt: skip


def training(overrides=None):
  program = adapted_models.build('bitfit', overrides)
  trained = program.trained(program.abstract_state.params)
  return {name for name, _ in pytree.named_leaves(trained)}


def test_all_biases_train_and_nothing_else():
  block = 'layers/block_0'
  linears = {
    f'{block}/{name}/bias'
    for name in (
      'attention/query', 'attention/key', 'attention/value', 'attention/out',
      'mlp/up', 'mlp/gate', 'mlp/down',
    )
  }  # fmt: skip
  assert training() == linears
  norms = {'final_norm/bias', f'{block}/attention_norm/bias', f'{block}/mlp_norm/bias'}
  assert training(LAYERNORM) == linears | norms | {'head_bias'}


def test_two_kinds_of_biases_may_do():
  assert training({'peft.options.biases': 'query_and_up'}) == {
    'layers/block_0/attention/query/bias',
    'layers/block_0/mlp/up/bias',
  }


def config(overrides):
  fields = {'peft.name': 'bitfit', 'model.vocab_size': 32}
  return tiny_runs.tiny_config(fields | overrides)


def test_a_model_without_biases_is_refused():
  with pytest.raises(ConfigError, match='model.bias=False.*"lora" or "ia3"'):
    bitfit.make(config({}))


def test_a_model_without_these_biases_is_told_of_the_others():
  fields = {'model.out_bias': True, 'peft.options.biases': 'query_and_up'}
  with pytest.raises(ConfigError, match='model.qkv_bias=.*set "all"'):
    bitfit.make(config(fields))
