"""Lengths in epochs: the steps that they are, once the data is open."""

import copy

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.program import epochs, setup
from gpt_jax.program.horizon import make_horizon
from tests import small_models as small
from tests import tiny_runs

EPOCHS = {'train.steps': None, 'train.epochs': 2.5, 'train.batch_size': 8}


def config(**overrides):
  return tiny_runs.tiny_config(EPOCHS | overrides)


def test_an_epoch_is_whole_batches_rounded_up():
  filled = epochs.fill_in(config(), range(20))
  assert filled.train.steps == 8  # 2.5 epochs of 3 steps
  assert make_horizon(filled.train, 16).total_steps == 8


def test_evaluations_come_at_shares_of_an_epoch():
  shares = {'eval.every_epochs': 0.5, 'checkpoint.every_epochs': 2.0}
  filled = epochs.fill_in(config(**shares), range(80))
  assert (filled.eval.every_steps, filled.checkpoint.every_steps) == (5, 20)


def test_steps_that_say_something_else_are_refused():
  with pytest.raises(ConfigError, match='train.steps=7: train.epochs=2.5 of 20 rows'):
    epochs.fill_in(config(**{'train.steps': 7}), range(20))


def test_without_epochs_nothing_changes():
  plain = tiny_runs.tiny_config({})
  assert epochs.fill_in(plain, range(20)) is plain


def test_steps_on_the_command_line_take_the_place_of_epochs():
  values = copy.deepcopy(small.base_values())
  values['train'] |= {'steps': None, 'epochs': 3.0}
  given = setup.resolve(values, {'train.steps': 9})
  assert (given.train.steps, given.train.epochs) == (9, None)
  back = setup.resolve(small.base_values(), {'train.epochs': 2})
  assert (back.train.steps, back.train.epochs) == (None, 2.0)


def test_what_has_no_data_asks_for_steps():
  with pytest.raises(ConfigError, match='give --config.train.steps=N'):
    make_horizon(config().train, 16)
