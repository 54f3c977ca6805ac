"""Bottleneck adapters against their formula, applied to the sublayers' results."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model.gpt import GPT
from gpt_jax.peft import adapters
from gpt_jax.program.build import adapter_of
from tests import tiny_runs
from tests.peft import adapted_models

ACTIVATIONS = {
  'relu': lambda x: np.maximum(x, 0),
  'silu': lambda x: x / (1 + np.exp(-x)),
  # The tanh form.
  'gelu': lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}
UNROLLED = {'model.scan_layers': False, 'model.num_layers': 1}


def bottleneck(params, path, x_BTD, activation):
  """Returns `f(x W_down + b_down) W_up + b_up` in float64."""

  def parameter(name):
    return np.asarray(params[f'{path}/{name}'], np.float64)

  hidden_BTR = x_BTD @ parameter('adapter_down') + parameter('adapter_down_bias')
  hidden_BTR = ACTIVATIONS[activation](hidden_BTR)
  return hidden_BTR @ parameter('adapter_up') + parameter('adapter_up_bias')


def sublayers(variant, overrides=None):
  """Returns (parameters, {sublayer: (input, output of it)}) of one adapted block."""
  program = adapted_models.build(variant, UNROLLED | (overrides or {}))
  state = adapted_models.state_of(program, is_trained=True)
  seen = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    name = context.module.name
    if name in ('attention', 'mlp') and context.method_name == '__call__':
      seen[name] = args, result
    return result

  tokens_BT = np.arange(16, dtype=np.int32)[None]
  # Interceptors of an outer context see what inner ones return.
  with nn.intercept_methods(record):
    program.model.apply({'params': state.params}, tokens_BT)
  return program, dict(pytree.named_leaves(state.params)), seen


def plain_output(program, params, name, args):
  """Returns what a sublayer of the base gives for its arguments."""
  base = adapted_models.base_of(program, pytree.nested(params))
  model = program.model
  plain, seen = GPT(model.cfg, model.attend, model.rules), {}

  def replace(call, own, kwargs, context):
    if context.module.name == name and context.method_name == '__call__':
      own = (args[0], *own[1:])
      seen[name] = call(*own, **kwargs)
      return seen[name]
    return call(*own, **kwargs)

  with nn.intercept_methods(replace):
    plain.apply({'params': base}, np.arange(16, dtype=np.int32)[None])
  return seen[name]


@pytest.mark.parametrize(
  'variant, adapted, activation, scale',
  [
    ('adapters', ('attention', 'mlp'), 'gelu', 1.0),
    ('pfeiffer', ('mlp',), 'relu', 1.0),
    ('parallel', ('mlp',), 'silu', 4.0),
  ],
)
def test_sublayers_follow_the_formula(variant, adapted, activation, scale):
  program, params, seen = sublayers(variant)
  for name in ('attention', 'mlp'):
    args, result = seen[name]
    plain = plain_output(program, params, name, args)
    result, plain = (
      np.asarray(each[0] if isinstance(each, tuple) else each, np.float64)
      for each in (result, plain)
    )
    wanted = plain
    if name in adapted:
      x_BTD = np.asarray(args[0], np.float64) if variant == 'parallel' else plain
      path = f'layers_0/block_0/{name}'
      wanted = plain + scale * bottleneck(params, path, x_BTD, activation)
    np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_the_norms_train_as_in_the_paper_of_houlsby():
  def norms(variant, overrides=None):
    trained = adapted_models.build(variant, overrides).trained
    params = adapted_models.build(variant, overrides).abstract_state.params
    return {n for n, _ in pytree.named_leaves(trained(params)) if 'norm' in n}

  assert norms('adapters') == {
    'final_norm/scale', 'layers/block_0/attention_norm/scale',
    'layers/block_0/mlp_norm/scale',
  }  # fmt: skip
  assert norms('pfeiffer') == set()
  assert norms('adapters', {'peft.options.norms': False}) == set()


@pytest.mark.slow
def test_dropout_is_of_what_the_adapter_reads():
  program = adapted_models.build('adapters', {'peft.options.dropout': 0.5})
  params = adapted_models.state_of(program, is_trained=True).params
  tokens_BT = np.arange(16, dtype=np.int32)[None]

  def apply(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return program.model.apply(
      {'params': params}, tokens_BT, deterministic=False, rngs=rngs
    )[0]

  assert np.array_equal(apply(0), apply(0))
  assert not np.array_equal(apply(0), apply(1))
  same = adapted_models.build('adapters')
  np.testing.assert_array_equal(
    adapted_models.logits(program, params), adapted_models.logits(same, params)
  )


def test_a_block_without_an_mlp_has_no_place_there():
  fields = {
    'peft.name': 'adapters', 'model.block': 'attention_only', 'model.vocab_size': 32,
  }  # fmt: skip
  config = tiny_runs.tiny_config(fields | {'peft.options.placement': 'pfeiffer'})
  with pytest.raises(ConfigError, match='attention_only.*use "houlsby"'):
    adapters.make(config)
  assert adapters.make(tiny_runs.tiny_config(fields)).added


def test_a_gate_is_no_activation_of_an_adapter():
  fields = {'peft.name': 'adapters', 'peft.options.activation': 'swiglu'}
  with pytest.raises(ConfigError, match='peft.options.activation'):
    tiny_runs.tiny_config(fields)


def test_parallel_adapters_are_scaled_as_in_their_paper():
  program = adapted_models.build('parallel')
  assert adapters.PLACEMENTS['parallel'].scale == 4.0
  names = adapter_of(program.model).added
  assert {name.split('/')[-2] for name in names} == {'mlp'}
