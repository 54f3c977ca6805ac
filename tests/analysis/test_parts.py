"""Which results a rule compares, and what they are called."""

import pytest

from gpt_jax.analysis import parts, rules
from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

RATE = 'optimizer.learning_rate'
LOSS = 'validation/loss'


def loss_of(point):
  return (point.row == 'base') + point.axes[RATE] + 0.5 * point.axes['seed']


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  folder, sweep = tmp_path_factory.mktemp('parts'), algebra.vary(RATE, 0.25, 0.5)
  return Results(fake_study.make(folder, loss_of, sweep=sweep, seeds=(0, 1)))


@pytest.mark.parametrize(
  'which, expected',
  [
    ({'row': 'ours', RATE: 0.25}, {0: 0.25, 1: 0.75}),
    (lambda part: part.where('base', **{RATE: 0.5}), {0: 1.5, 1: 2.0}),
  ],
)
def test_a_part_is_chosen_by_a_dict_or_a_function(results, which, expected):
  assert parts.of(results, which).by_seed(LOSS) == expected


def test_a_row_is_taken_at_its_best_by_the_direction(results):
  assert parts.of(results, 'ours', at_best=RATE).mean(LOSS) == 0.5
  assert parts.of(results, 'ours', LOSS, RATE, higher=True).mean(LOSS) == 0.75
  assert len(parts.of(results, None)) == 8


def test_two_parts_are_compared_over_their_common_seeds(results):
  one, other = ({'row': row, RATE: 0.5} for row in ('ours', 'base'))
  pair = parts.two(results, one, other, None, None, None)
  assert pair == ({0: 0.5, 1: 1.0}, {0: 1.5, 1: 2.0})
  assert parts.gain(results, *pair, higher=None) == 1.0
  assert parts.gain(results, *pair, higher=True) == -1.0
  first, second = ({'row': 'ours', RATE: 0.5, 'seed': seed} for seed in (0, 1))
  with pytest.raises(NotEnoughData, match='no seed in common'):
    parts.two(results, first, second, None, None, None)


def test_parts_and_metrics_have_names():
  assert parts.label({'row': 'ours', RATE: 0.5}, 'first') == f'ours, {RATE}=0.5'
  assert parts.label(len, 'first') == 'first'
  reached = rules.FirstStep('validation/accuracy', above=0.5)
  assert parts.name_of(reached) == 'first step with validation/accuracy >= 0.5'
  assert parts.name_of(None) == 'the metric'
  assert parts.name_of(loss_of) == 'loss of'
