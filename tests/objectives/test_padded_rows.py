"""Padded rows have one loss and one gradient, whichever kernel computes attention."""

import functools

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.attention import KERNELS, blockwise, ring
from gpt_jax.objectives.losses import cross_entropy
from gpt_jax.parallel import mesh, sharding
from tests import small_models as small
from tests import tiny_runs
from tests.objectives.test_objectives import (
  OF_TEXTS,
  OF_TOKENS,
  PACKED,
  PADDED,
  SEQ_LEN,
  documents,
)

TOKENS = ['causal_lm', 'masked_lm', 'prefix_lm', 'span_corruption']
VOCAB = objectives.Vocab(size=50, eos_id=0)


def test_every_objective_over_tokens_is_tested():
  # The examples of layer_skip are those of causal_lm.
  assert {*TOKENS, *OF_TEXTS, *OF_TOKENS, 'layer_skip'} == set(objectives.OBJECTIVES)


def ring_on_4_devices(*qkv, **options):
  config = small.resolve(parallel__preset='sequence')
  devices = mesh.make_mesh({'sequence': 4}, jax.devices()[:4])
  rules = sharding.make_sharding_rules(config.parallel, devices)
  return ring.attend(*qkv, **options, rules=rules, block=4)


ATTEND = KERNELS | {
  'blockwise': functools.partial(blockwise.attend, block=5),
  'ring': ring_on_4_devices,
}


@functools.cache
def loss_and_gradients(name, kernel):
  """Returns (mean loss, gradients) of padded and packed rows in one layer."""
  config = small.resolve(
    objective__name=name, data__seq_len=SEQ_LEN, model__vocab_size=64,
    model__num_layers=1,
  )  # fmt: skip
  model = small.make_gpt(config, ATTEND[kernel])
  objective = objectives.make_objective(config.objective, vocab=VOCAB, seq_len=SEQ_LEN)

  @small.jit
  def run(params, batch):
    example = objective(batch, jax.random.key(0))

    def loss(params):
      logits_BTV, _ = model.apply({'params': params}, example.inputs_BT, example.mask)
      sums = cross_entropy(logits_BTV, example.targets_BT, example.weights_BT)
      return sums.objective_sum / sums.weight_sum

    return jax.value_and_grad(loss)(params)

  return run(small.random_params(model), documents(*PADDED, *PACKED))


@pytest.mark.parametrize(
  'kernel', tiny_runs.mostly_slow(sorted(set(ATTEND) - {'dense'}), 'blockwise')
)
@pytest.mark.parametrize(
  'name',
  [
    name if name == 'span_corruption' else pytest.param(name, marks=pytest.mark.slow)
    for name in TOKENS
  ],
)
def test_kernels_agree_on_padded_rows(name, kernel):
  loss, grads = loss_and_gradients(name, kernel)
  expected, expected_grads = loss_and_gradients(name, 'dense')
  assert float(loss) == pytest.approx(float(expected), rel=1e-6)
  small.assert_trees_close(grads, expected_grads, atol=2e-6)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
