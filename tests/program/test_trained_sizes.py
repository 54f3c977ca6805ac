"""What trains, against the programs with and without an adapter."""

import dataclasses

import pytest

from gpt_jax.core import pytree
from gpt_jax.program import trained_sizes
from tests.peft import adapted_models

ADAM = {'optimizer.name': 'adamw', 'optimizer.options': {}}


def test_what_trains_is_the_adapter():
  program = adapted_models.build('lora', ADAM)
  plain = adapted_models.build(None, ADAM)
  sizes, state = trained_sizes.of_program(program), program.abstract_state
  added = pytree.count(program.trained(state.params))
  whole = pytree.count(plain.parameters)
  assert sizes.now.parameters == added
  assert sizes.parameters == whole + added
  assert sizes.now.gradients == 4 * added
  assert sizes.now.optimizer == pytree.size_bytes(state.opt_state)
  assert sizes.frozen == sizes.frozen_in_full == 4 * whole


@pytest.mark.parametrize('average', [0.0, 0.5])
def test_with_all_trained_is_the_plain_program(average):
  fields = ADAM | {'optimizer.ema_decay': average}
  sizes = trained_sizes.of_program(adapted_models.build('lora', fields))
  state = adapted_models.build(None, fields).abstract_state
  assert sizes.whole.parameters == pytree.count(state.params)
  assert sizes.whole.optimizer == pytree.size_bytes(state.opt_state)
  items = dataclasses.replace(state, step=None, seed=None).as_items()
  assert sizes.whole.checkpoint == pytree.size_bytes(items)


def test_a_checkpoint_lacks_the_base():
  program = adapted_models.build('lora', ADAM)
  sizes, state = trained_sizes.of_program(program), program.abstract_state
  own = program.trained(state.params)
  kept = state.opt_state, state.loss_history
  assert sizes.now.checkpoint == pytree.size_bytes((own, kept))


def test_codes_of_four_bits_are_half_a_byte():
  sizes = trained_sizes.of_program(adapted_models.build('nf4', ADAM))
  as_is = trained_sizes.of_program(adapted_models.build('lora', ADAM))
  assert sizes.whole == as_is.whole
  assert sizes.frozen_in_full == as_is.frozen
  params = adapted_models.build('nf4', ADAM).abstract_state.params
  codes = [leaf for leaf in pytree.named_leaves(params) if leaf[1].dtype == 'uint4']
  saved = sum(3.5 * pytree.count(leaf) for _, leaf in codes)
  parts = [leaf for name, leaf in pytree.named_leaves(params) if 'kernel_scale' in name]
  assert sizes.frozen_in_full - sizes.frozen == saved - pytree.size_bytes(parts)


def test_the_line_says_why_and_how_much():
  said = trained_sizes.describe(adapted_models.build('nf4', ADAM))
  assert said.startswith('trains ')
  assert "peft.name='lora'" in said
  assert "peft.base_storage='nf4'" in said
  assert 'a checkpoint' in said
  frozen = {'optimizer.groups': [{'match': 'norm', 'freeze': True}]}
  config = adapted_models.build(None, ADAM | frozen)
  assert 'optimizer.groups freeze' in trained_sizes.describe(config)
  assert 'base_storage' not in trained_sizes.describe(config)
