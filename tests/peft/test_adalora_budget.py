"""The budget of AdaLoRA: its formula, the steps that enforce it, lengths that fit."""

import fractions
import types

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.peft.adalora_budget import Schedule, make_schedule

PAPER = Schedule(288, 192, 3000, 500, 1500, 10)


def options(**changed):
  default = dict(
    initial_rank=12, target_rank=8, warmup_steps=None, final_steps=None, interval=10
  )
  return types.SimpleNamespace(**default | changed)


@pytest.mark.parametrize('step', [1, 500, 600, 750, 1000, 1250, 1490, 1500, 3000])
def test_the_budget_is_that_of_the_cubic_formula(step):
  left = fractions.Fraction(1500 - min(max(step, 500), 1500), 1000)
  expected = int(192 + 96 * left**3)
  assert PAPER.budgets()[step] == expected
  assert jax.jit(PAPER.budget_at)(step) == expected


@pytest.mark.parametrize(
  'schedule',
  [
    PAPER,
    Schedule(7, 7, 20, 3, 5, 2),  # constant
    Schedule(1000, 1, 11, 0, 0, 1),
    Schedule(5, 2, 1, 0, 0, 1),
  ],
)
def test_the_compiled_budget_is_that_of_every_step(schedule):
  steps = np.arange(schedule.total_steps + 1)
  budgets = schedule.budgets()
  np.testing.assert_array_equal(jax.jit(jax.vmap(schedule.budget_at))(steps), budgets)
  assert budgets[0] == schedule.first and budgets[-1] == schedule.last
  assert (np.diff(budgets) <= 0).all()


def test_a_step_after_the_end_keeps_the_last_budget():
  assert PAPER.budget_at(3500) == 192
  assert PAPER.masks_at(3500)


def test_masks_come_at_intervals_and_at_the_end_always():
  schedule = Schedule(24, 8, 20, 4, 6, 5)
  masked = [step for step in range(1, 21) if schedule.masks_at(step)]
  assert masked == [5, 10, 15, 16, 17, 18, 19, 20]


def test_without_numbers_the_shares_are_those_of_the_example():
  assert make_schedule(options(), 24, 3000) == PAPER
  short = make_schedule(options(), 24, 1)
  assert short.budgets().tolist() == [288, 192]


@pytest.mark.parametrize('warmup, final', [(50, 50), (None, 90), (100, None)])
def test_parts_that_leave_no_step_are_refused(warmup, final):
  chosen = options(warmup_steps=warmup, final_steps=final)
  with pytest.raises(ConfigError, match='leave none of the 100 steps'):
    make_schedule(chosen, 24, 100)
