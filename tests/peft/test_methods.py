"""What every method of parameter-efficient fine-tuning keeps, over all VARIANTS."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.model import stacking
from gpt_jax.program.build import adapter_of
from tests import tiny_runs
from tests.peft import adapted_models

VARIANTS = adapted_models.VARIANTS
METHODS = {fields['name'] for fields in VARIANTS.values()}
SCANNED = [name for name in VARIANTS if name != 'last_layers']
CASES = tiny_runs.mostly_slow(SCANNED, 'lora', 'prefix', 'adapters')
STARTS_ELSEWHERE = ('prefix', 'p_tuning_v2', 'prompt')
"""What the model sees more is there from step 0."""
AVERAGES = {'adalora': 4}
"""Numbers that the optimizer keeps of one that trains, where not Adam's two."""
ROUNDED = ('dora', 'nf4', 'int8')
"""DoRA divides norms by themselves: 1 to rounding; XLA fuses the unpacking."""
UNROLLED = {'model.scan_layers': False}


def test_every_method_has_a_variant():
  assert set(peft.METHODS) == METHODS


@pytest.mark.parametrize('variant', CASES)
def test_the_first_step_is_that_of_the_base(variant):
  if variant in STARTS_ELSEWHERE:
    pytest.skip('a prefix is seen from the start')
  adapted, plain = adapted_models.build(variant), adapted_models.build(None)
  params = adapted_models.state_of(adapted).params
  found = adapted_models.logits(adapted, params)
  wanted = adapted_models.logits(plain, adapted_models.base_of(adapted, params))
  np.testing.assert_allclose(found, wanted, atol=1e-5 if variant in ROUNDED else 0)


@pytest.mark.parametrize('variant', CASES)
def test_what_is_frozen_keeps_every_bit(variant):
  program = adapted_models.build(variant)
  state = adapted_models.state_of(program)
  before = {name: np.asarray(leaf) for name, leaf in pytree.named_leaves(state.params)}
  state, losses = adapted_models.steps(program, state)
  assert losses[0] != losses[-1]
  for name, leaf in pytree.named_leaves(state.params):
    is_same = np.array_equal(np.asarray(leaf), before[name])
    assert is_same == (name in program.frozen), name


@pytest.mark.parametrize('variant', CASES)
def test_the_optimizer_has_what_trains_alone(variant):
  adam = {'optimizer.name': 'adamw', 'optimizer.options': {}}
  program = adapted_models.build(variant, adam)
  trained = pytree.count(program.trained(program.abstract_state.params))
  counted = pytree.count(program.abstract_state.opt_state)
  kept = AVERAGES.get(variant, 2)
  assert kept * trained <= counted <= (kept + 1.2) * trained + 16
  assert trained < 0.5 * pytree.count(program.abstract_state.params)


@pytest.mark.parametrize('variant', CASES)
def test_merging_agrees(variant):
  program = adapted_models.build(variant)
  if adapter_of(program.model).merged is None:
    pytest.skip('there is no plain model like this')
  params = adapted_models.state_of(program, is_trained=True).params
  plain = adapted_models.build(None)
  wanted = adapted_models.logits(program, params)
  found = adapted_models.logits(plain, adapted_models.merged(program, params))
  base = adapted_models.logits(plain, adapted_models.base_of(program, params))
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  if adapter_of(program.model).added:
    assert np.abs(base - wanted).max() > 1e-2


@pytest.mark.parametrize('variant', CASES)
def test_unrolled_layers_do_as_a_scan(variant):
  scanned, unrolled = (
    adapted_models.build(variant),
    adapted_models.build(variant, UNROLLED),
  )
  state = adapted_models.state_of(scanned, is_trained=True)
  apart = unrolled.init(0).replace(
    params=stacking.unstack(jax.tree.map(jnp.copy, state.params))
  )
  state, losses = adapted_models.steps(scanned, state)
  apart, others = adapted_models.steps(unrolled, apart)
  np.testing.assert_allclose(losses, others, rtol=2e-5)
  found = tiny_runs.named(stacking.unstack(state.params))
  wanted = tiny_runs.named(apart.params)
  tiny_runs.assert_same(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('variant', CASES)
def test_an_unrolled_model_takes_what_a_scan_has_trained(variant):
  # As engines do, which read the adapter of the training and layers apart.
  program = adapted_models.build(variant)
  adapter = adapter_of(program.model)
  params = adapted_models.state_of(program, is_trained=True).params
  wanted = adapted_models.logits(program, params)
  cfg = dataclasses.replace(program.model.cfg, scan_layers=False)
  unrolled = peft.make_gpt(adapter, cfg, program.model.attend)
  apart = stacking.unstack(adapter.prepared(params))
  tokens_BT = np.random.default_rng(0).integers(0, 32, (2, 16), np.int32)
  found = unrolled.apply({'params': apart}, tokens_BT)[0]
  np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize('variant', CASES)
def test_a_mesh_changes_nothing(variant):
  if len(jax.devices()) < 4:
    pytest.skip('needs four devices')
  one = adapted_models.build(variant)
  many = adapted_models.build(variant, adapted_models.MESH, devices=4)
  state, losses = adapted_models.steps(
    one, adapted_models.state_of(one, is_trained=True)
  )
  other, others = adapted_models.steps(
    many, adapted_models.state_of(many, is_trained=True)
  )
  np.testing.assert_allclose(losses, others, rtol=2e-5)
  found, wanted = tiny_runs.named(other.params), tiny_runs.named(state.params)
  tiny_runs.assert_same(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('variant', CASES)
def test_microbatches_and_remat_change_nothing(variant):
  plain = adapted_models.build(variant)
  other = adapted_models.build(variant, {'train.grad_accum': 2, 'model.remat': 'full'})
  _, losses = adapted_models.steps(plain, adapted_models.state_of(plain))
  _, others = adapted_models.steps(other, adapted_models.state_of(other))
  np.testing.assert_allclose(losses, others, rtol=2e-5)
