"""What the prices of a study look like: by point, by program, and what is left out."""

import dataclasses

import pytest

from gpt_jax.execution import price_tables
from gpt_jax.execution.pricing import Price, Prices


@dataclasses.dataclass
class Plan:
  """The parts of a planning Plan that the tables read."""

  parameters: int = 1_000_000
  not_modelled: tuple = ('reading data',)

  @dataclasses.dataclass
  class Memory:
    total_gib: float = 1.5
    hbm_gib: float = 16.0

  @dataclasses.dataclass
  class Time:
    mfu_bound: float = 0.4

  @dataclasses.dataclass
  class Cost:
    compile_seconds: float = 7.0

  memory: Memory = dataclasses.field(default_factory=Memory)
  time: Time = dataclasses.field(default_factory=Time)
  compilation: Cost = dataclasses.field(default_factory=Cost)


def prices(count, reasons=(), topology='v5p:2x2x1'):
  """Returns Prices of `count` points of two programs, and of some that cannot run."""
  points = [
    Price(f'r{i % 2},seed={i}', f'r{i % 2}', i % 2, 100 + i, 2.0, 0.5, 2.0)
    for i in range(count)
  ]
  points += [Price(f'bad{i}', 'bad', 2, 9, reason=r) for i, r in enumerate(reasons)]
  plans = (Plan(), Plan()) + ((None,) if reasons else ())
  return Prices(topology, 4, tuple(points), plans)


def shown(capsys, *args):
  price_tables.show('study', prices(*args))
  return [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_few_points_have_a_line_each(capsys):
  lines = shown(capsys, 3)
  assert 'r0,seed=2 1 1,000,000 1.50 16.00 2.000 40.0% 102 2' in lines
  assert any(
    line.startswith('total: 6 chip-hours at best for 3 points') for line in lines
  )


def test_many_points_have_a_line_for_each_program(capsys):
  lines = shown(capsys, 40)
  assert '20 of r0 1 1,000,000 1.50 16.00 2.000 40.0% 100 to 138 40' in lines
  assert not any('seed=' in line for line in lines)
  (total,) = [line for line in lines if line.startswith('total:')]
  assert '80 chip-hours' in total and '20.0 h on 4 chips' in total
  assert '2 programs for 40 points, compiled in 14 s' in total


def test_points_that_cannot_run_are_listed_with_their_reason(capsys):
  lines = shown(capsys, 1, ['too large', 'too large', 'no mesh'])
  at = lines.index('cannot run there: 2 point(s), bad0, bad1:')
  assert lines[at + 1] == 'too large'
  assert 'cannot run there: 1 point(s), bad2:' in lines
  assert any('left out: 3 points that cannot run there' in line for line in lines)


def test_a_cpu_has_neither_chip_hours_nor_a_share_of_its_peak(capsys):
  lines = shown(capsys, 3, (), 'cpu:4')
  assert 'r0,seed=2 1 1,000,000 1.50 16.00 2.000 102' in lines
  assert not any('chip' in line or 'MFU' in line for line in lines)
  (total,) = [line for line in lines if line.startswith('total:')]
  assert 'at best 1.5 h on 4 CPU devices one after the other, for 3 points' in total


@pytest.mark.parametrize(
  'hours, text', [(0.02, '1.2 min'), (3, '3.0 h'), (72, '3.0 days')]
)
def test_durations_are_short(hours, text):
  assert price_tables.duration(hours) == text


@pytest.mark.parametrize('value, text', [(0.01234, '0.0123'), (12345.6, '12,346')])
def test_chip_hours_have_three_digits_or_more(value, text):
  assert price_tables.hours(value) == text
