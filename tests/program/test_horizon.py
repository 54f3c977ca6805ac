"""Budgets and batch-size ramps: what a step has consumed, in steps and in tokens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.program.horizon import MAX_RAMP_SIZES, BatchStage, make_horizon

TRAIN = load.resolve(base.get_config()).train


def horizon(seq_len=8, **train):
  values = dict(steps=None, tokens=None, batch_size=4, grad_accum=1) | train
  return make_horizon(dataclasses.replace(TRAIN, **values), seq_len)


def test_a_budget_in_tokens_is_rounded_up_to_whole_steps():
  assert horizon(tokens=320).total_steps == 10
  assert horizon(tokens=321).total_steps == 11
  assert horizon(tokens=321).total_tokens == 352
  assert horizon(steps=10).total_tokens == 320


def test_samples_and_tokens_are_the_sums_of_the_batches_before():
  run = horizon(steps=60, batch_size=12, ramp_start_batch_size=2, ramp_tokens=1000)
  sizes = [run.batch_size_at(step) for step in range(61)]
  before = np.concatenate([[0], np.cumsum(sizes)])[:61]
  assert [run.samples_at(step) for step in range(61)] == before.tolist()
  assert [run.tokens_at(step) for step in range(61)] == (8 * before).tolist()
  traced = jax.jit(jax.vmap(run.traced_tokens_at))(jnp.arange(61))
  np.testing.assert_array_equal(traced, 8.0 * before)


def test_step_at_tokens_is_the_first_step_that_has_seen_them():
  run = horizon(steps=60, batch_size=12, ramp_start_batch_size=2, ramp_tokens=1000)
  seen = [run.tokens_at(step) for step in range(200)]
  for tokens in range(0, 3000, 7):
    assert run.step_at_tokens(tokens) == next(
      i for i, s in enumerate(seen) if s >= tokens
    )


def test_a_ramp_rises_in_few_multiples_to_the_full_size():
  # Appendix B of arXiv:2005.14165: 32k tokens up to 3.2M.
  run = horizon(
    2048, tokens=300_000_000_000, batch_size=1600, ramp_start_batch_size=16,
    ramp_tokens=4_000_000_000,
  )  # fmt: skip
  sizes = [stage.batch_size for stage in run.stages]
  assert sizes[0] == 16 and sizes[-1] == 1600
  assert len(sizes) == MAX_RAMP_SIZES + 1
  assert sizes == sorted(set(sizes)) and all(size % 16 == 0 for size in sizes)
  for stage in run.stages:
    seen = run.tokens_at(stage.first_step)
    line = 16 + (1600 - 16) * min(1, seen / 4e9)
    assert stage.batch_size <= line + 1e-6
  full_from = run.tokens_at(run.stages[-1].first_step)
  assert 0 <= full_from - 4_000_000_000 < 1600 * 2048


def test_a_ramp_shorter_than_one_step_leaves_no_empty_stage():
  run = horizon(steps=10, batch_size=8, ramp_start_batch_size=1, ramp_tokens=20)
  firsts = [stage.first_step for stage in run.stages]
  assert firsts == sorted(set(firsts)) and run.batch_size_at(9) == 8
  assert horizon(steps=1, ramp_start_batch_size=4, ramp_tokens=9).stages == (
    BatchStage(0, 0, 0, 4, 8),
  )


RAMP = dict(batch_size=12, ramp_start_batch_size=2, ramp_tokens=1000)


@pytest.mark.parametrize('step', [1, 7, 20, 45])
@pytest.mark.parametrize(
  'old, new',
  [
    (dict(), dict(batch_size=12)),
    (RAMP, RAMP),
    (RAMP, dict(batch_size=4)),
    (dict(), RAMP),
    (RAMP, RAMP | dict(ramp_tokens=3000)),
  ],
)
def test_other_batches_begin_where_the_old_ones_end(old, new, step):
  before = horizon(steps=60, **old)
  after = make_horizon(
    dataclasses.replace(TRAIN, steps=60, grad_accum=1, **new), 8, before.past_at(step)
  )
  sizes = [after.batch_size_at(i) for i in range(60)]
  assert sizes[:step] == [before.batch_size_at(i) for i in range(step)]
  for i in range(step, 60):
    assert sizes[i] == size_at(after.tokens_at(i), **new)
  read = np.concatenate([[0], np.cumsum(sizes)])
  assert [after.samples_at(i) for i in range(61)] == read.tolist()
  assert [after.tokens_at(i) for i in range(61)] == (8 * read).tolist()
  assert after.present[0].first_step == after.first_step == step
  if old == new:
    assert sizes == [before.batch_size_at(i) for i in range(60)]


def size_at(tokens, batch_size=4, ramp_start_batch_size=None, ramp_tokens=None):
  """Returns the batch size of a ramp through 2, 4, ... 12, by the tokens seen."""
  if ramp_tokens is None:
    return batch_size
  reached = [2 * (1 + i) for i in range(6) if ramp_tokens * i // 5 <= tokens]
  return reached[-1]


def test_rows_of_another_length_count_tokens_on():
  past = horizon(8, steps=60).past_at(10)
  after = make_horizon(
    dataclasses.replace(TRAIN, steps=None, tokens=1000, batch_size=4), 16, past
  )
  assert [after.tokens_at(step) for step in (9, 10, 11)] == [288, 320, 384]
  assert after.total_steps == 10 + 11  # 680 tokens are left, 64 a step
  assert after.step_at_tokens(300) == 10 and after.step_at_tokens(290) == 10
  traced = jax.jit(jax.vmap(after.traced_tokens_at))(jnp.arange(21))
  np.testing.assert_array_equal(traced, [after.tokens_at(i) for i in range(21)])


@pytest.mark.parametrize(
  'train, field',
  [
    (dict(steps=None, tokens=None), 'train.steps'),
    (dict(steps=1, tokens=1), 'train.steps'),
    (dict(steps=1, ramp_start_batch_size=3, ramp_tokens=9), 'ramp_start_batch_size=3'),
    (
      dict(steps=1, ramp_start_batch_size=1, ramp_tokens=9, grad_accum=2),
      'ramp_start_batch_size=1',
    ),
    (dict(steps=1, ramp_start_batch_size=2), 'train.ramp_tokens=None'),
  ],
)
def test_impossible_budgets_and_ramps_name_the_field(train, field):
  with pytest.raises(ConfigError, match=field):
    horizon(**train)
