"""Sums over batches of what an interceptor sows into the model."""

import contextlib

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.model.linear_inputs import OBSERVED
from gpt_jax.program import observe
from gpt_jax.program.build import build_program
from tests import tiny_runs


def build(overrides):
  config = tiny_runs.tiny_config(overrides)
  vocab = objectives.Vocab(size=50, eos_id=0)
  return build_program(config, vocab=vocab)


def watching(weights_BT):
  """Returns what sows the sum of each block's stream over tokens that are there."""

  def intercept(call, args, kwargs, context):
    module = context.module
    if type(module).__name__ == 'Block' and context.method_name == '__call__':
      total_D = jnp.einsum('BT,BTD->D', weights_BT, args[0])
      module.sow(OBSERVED, 'seen', total_D, reduce_fn=lambda _, new: new, init_fn=dict)
    return call(*args, **kwargs)

  return intercept


def batch(seed):
  tokens = np.random.default_rng(seed).integers(0, 50, (8, 17)).astype(np.int32)
  return {'tokens': tokens}


def test_sums_are_over_the_batches_asked_for():
  program = build({'model.dtype': 'float32'})
  params = program.init(0).params
  batches = iter([batch(seed) for seed in range(5)])
  seen = observe.make_observe(program, params, lambda: contextlib.nullcontext(batches))
  found = seen(watching, 2)
  assert next(batches)['tokens'].tolist() == batch(2)['tokens'].tolist()
  assert list(found) == ['layers/block_0/seen']
  sums_LD = found['layers/block_0/seen']
  tokens = np.concatenate([batch(seed)['tokens'][:, :-1] for seed in range(2)])
  wanted_D = np.asarray(params['embed']['embedding'])[tokens].sum((0, 1))
  np.testing.assert_allclose(sums_LD[0], wanted_D, atol=1e-4)
  assert sums_LD.shape == (2, 32) and not np.allclose(sums_LD[1], wanted_D)


def test_examples_of_an_own_class_are_refused():
  with pytest.raises(ConfigError, match='init="random"'):
    observe._require_example(build({}), ('no', 'Example'))
