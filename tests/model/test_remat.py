"""Between TPU slices the backward pass reads weights after the loss: same numbers."""

import re

import jax
import jax.numpy as jnp
import pytest

from gpt_jax.attention import masks
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import ShardingRules, make_sharding_rules
from tests import small_models as small
from tests import tiny_runs

CASES = {
  'learned positions': {},
  'RoPE, segments': dict(model__position='rope'),
  'ALiBi, pairs of layers': dict(
    model__position='alibi', model__layer_pattern=('global', 'local:4')
  ),
  'dropout': dict(model__residual_dropout=0.5, model__stochastic_depth=0.3),
}


def gradients(remat='full', capture=False, **overrides):
  """Returns the gradients of a loss and their text, under an 8-way mesh.

  `capture`: the loss counts what the MLPs return, as captured, too.
  """
  drops = 'model__residual_dropout' in overrides
  overrides = dict(parallel__mesh=dict(fsdp=8), model__remat=remat) | overrides
  config = small.resolve(parallel__preset='fsdp', **overrides)
  mesh = make_mesh(config.parallel.mesh)
  model = small.make_gpt(config, rules=make_sharding_rules(config.parallel, mesh))

  def loss(params, segments_BT):
    (logits_BTV, _), captured = model.apply(
      {'params': params}, small.random_tokens(8), masks.causal(segments_BT),
      deterministic=not drops, rngs={'dropout': jax.random.key(0)},
      mutable=['intermediates'] if capture else [],
      capture_intermediates=capture and (lambda module, _: module.name == 'mlp'),
    )  # fmt: skip
    kept = sum(jnp.square(leaf).mean() for leaf in jax.tree.leaves(captured))
    return jax.nn.logsumexp(logits_BTV, -1).mean() + kept

  segments_BT = jnp.arange(8)[None] // 3 + jnp.zeros((8, 1), jnp.int32)
  # A gradient around a jit: what the layers are given has to be handed through, which
  # a key of dropout is not.
  run = small.jit(jax.grad(loss if drops else jax.jit(loss)))
  params = small.random_params(model)
  return run(params, segments_BT), run.lower(params, segments_BT).as_text()


def waits(text):
  """Returns whether a stack of weights passes a barrier: `down` [L, F, D]."""
  config = small.resolve().model
  shape = f'{config.num_layers}x{config.d_ff}x{config.d_model}'
  groups = f'{config.num_layers // 2}x{config.d_ff}x{config.d_model}'
  return bool(re.search(rf'optimization_barrier.*tensor<({shape}|{groups})xf32>', text))


@pytest.fixture
def on_slices(monkeypatch):
  """Returns a function that makes every mesh span several TPU slices."""
  return lambda: monkeypatch.setattr(ShardingRules, 'spans_slices', True)


@pytest.mark.parametrize('case', tiny_runs.mostly_slow(CASES, 'ALiBi, pairs of layers'))
def test_the_backward_pass_reads_weights_after_the_loss(case, on_slices):
  expected, text = gradients(**CASES[case])
  assert not waits(text)
  on_slices()
  grads, text = gradients(**CASES[case])
  assert waits(text)
  small.assert_trees_close(grads, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize('remat', ['none', 'names', 'dots'])
def test_where_activations_are_saved_nothing_waits(remat, on_slices):
  on_slices()
  assert not waits(gradients(remat)[1])


@pytest.mark.slow
def test_gradients_through_captured_activations_are_not_lost(on_slices):
  # flax's custom_vjp takes no cotangents for what a module writes.
  expected, plain = gradients(capture=True)[0], gradients()[0]
  with pytest.raises(AssertionError):
    small.assert_trees_close(plain, expected, rtol=1e-5, atol=1e-7)
  on_slices()
  small.assert_trees_close(gradients(capture=True)[0], expected, rtol=1e-5, atol=1e-7)
