"""Interleaved timing, on a clock that the cases advance."""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.benchmarks import timing


class Clock:
  """Time that passes only where a case says so."""

  def __init__(self):
    self.now, self.order = 0.0, []

  def __call__(self):
    return self.now

  def case(self, name, *seconds, **fields):
    """Returns a case whose runs take each of `seconds`, then always the last.

    The first two are those of warming up.
    """
    each = itertools.chain(seconds, itertools.repeat(seconds[-1]))

    def run(times):
      self.order.append(name)
      self.now += times * next(each)

    return timing.Case(name, run, **fields)


def measure(clock, cases, rounds=3, min_seconds=0.0):
  return timing.measure(cases, rounds, clock=clock, min_seconds=min_seconds)


def test_odd_rounds_run_the_cases_in_reverse():
  clock = Clock()
  measure(clock, [clock.case('a', 1.0), clock.case('b', 1.0), clock.case('c', 1.0)])
  assert ''.join(clock.order) == 'aabbcc' + 'abc' + 'cba' + 'abc'


def test_seconds_leave_out_the_warm_up():
  clock = Clock()
  seconds, skipped = measure(clock, [clock.case('a', 90.0, 50.0, 1.0, 2.0, 4.0)])
  assert seconds == {'a': [1.0, 2.0, 4.0]}
  assert skipped == []


def test_short_cases_are_repeated_and_divided():
  clock = Clock()
  runs = []
  case = timing.Case(
    'a', lambda times: (runs.append(times), clock.case('', 0.25).run(times))
  )
  seconds, _ = measure(clock, [case], rounds=2, min_seconds=1.0)
  assert runs == [1, 1, 4, 4]
  assert seconds == {'a': [0.25, 0.25]}


def test_repeats_are_limited():
  clock = Clock()
  runs = []
  timing.measure([timing.Case('nothing', runs.append)], 1, clock=clock, min_seconds=1.0)
  assert runs[-1] == timing.MAX_REPEATS


def test_what_stands_around_a_case_is_not_timed():
  clock, held = Clock(), []

  @contextlib.contextmanager
  def around():
    clock.now += 10.0
    held.append('in')
    yield
    held.append('out')
    clock.now += 10.0

  case = clock.case('a', 90.0, 1.0, 1.0, 2.0, around=around)
  seconds, _ = measure(clock, [case, clock.case('b', 1.0)], rounds=2)
  assert seconds == {'a': [1.0, 2.0], 'b': [1.0, 1.0]}
  assert held == ['in', 'out'] * 3  # one to warm up


def test_a_spread_is_median_and_quartiles():
  spread = timing.spread([5.0, 1.0, 3.0, 2.0, 4.0])
  assert (spread.low, spread.median, spread.high) == (2.0, 3.0, 4.0)


def test_a_ratio_is_the_median_of_pairs():
  ours, theirs = [1.0, 4.0, 10.0], [2.0, 16.0, 5.0]
  assert timing.paired_ratio(ours, theirs).median == 0.5
  assert np.median(ours) / np.median(theirs) == 0.8


def test_a_ratio_is_robust_to_drift():
  slower = [1.0, 7.0, 2.0, 30.0]
  ratio = timing.paired_ratio([3 * s for s in slower], [2 * s for s in slower])
  assert ratio.low == ratio.median == ratio.high == 1.5


def test_subtracted_time_is_of_the_same_round():
  clock = Clock()
  cases = [
    clock.case('prefill', 1.0, 1.0, 1.0, 5.0),
    clock.case('decode', 1.0, 1.0, 4.0, 9.0, minus='prefill'),
  ]
  seconds, _ = measure(clock, cases, rounds=2)
  assert seconds == {'prefill': [1.0, 5.0], 'decode': [3.0, 4.0]}


def test_a_difference_is_never_negative():
  clock = Clock()
  cases = [clock.case('prefill', 5.0), clock.case('decode', 1.0, minus='prefill')]
  seconds, _ = measure(clock, cases, rounds=1)
  assert 0 < seconds['decode'][0] < 1e-6


def test_a_case_without_memory_is_skipped():
  def run(times):
    raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory while trying to allocate')

  clock = Clock()
  cases = [
    timing.Case('prefill', run),
    clock.case('decode', 1.0, minus='prefill'),
    timing.Skipped('loader', 'no data'),
  ]
  seconds, skipped = measure(clock, cases, rounds=1)
  assert seconds == {}
  reasons = {each.name: each.reason for each in skipped}
  assert reasons['loader'] == 'no data'
  assert 'no memory' in reasons['prefill']
  assert reasons['decode'] == 'prefill was skipped'


def test_other_errors_are_raised():
  def run(times):
    raise RuntimeError('INTERNAL: something broke')

  with pytest.raises(RuntimeError, match='something broke'):
    timing.measure([timing.Case('a', run)], 1)


def test_a_peers_case_comes_right_after_ours():
  names = ['peer/b', 'peer/a', 'a', 'b', 'c', 'peer/alone']
  cases = [
    timing.Case(name, lambda times: None) for name in names if 'alone' not in name
  ]
  cases.append(timing.Skipped('peer/alone', ''))
  ordered = [case.name for case in timing.in_pairs(cases, 'peer/')]
  assert ordered == ['a', 'peer/a', 'b', 'peer/b', 'c', 'peer/alone']


def test_progress_sees_every_measurement():
  clock, seen = Clock(), []

  def progress(cases):
    seen.append(len(cases))
    return cases

  cases = [clock.case('a', 1.0), clock.case('b', 1.0)]
  timing.measure(cases, 3, progress=progress, clock=clock, min_seconds=0.0)
  assert seen == [6]


def test_repeat_calls_as_often_as_asked():
  calls = []
  timing.repeat(lambda: calls.append(1) or jnp.zeros(()), 5)
  assert len(calls) == 5


def test_compiled_memory_counts_arguments_and_results():
  x = jnp.zeros((256, 1024), jnp.float32)
  run, seconds, gib = timing.compiled(jax.jit(lambda x: x * 2).lower(x))
  np.testing.assert_array_equal(run(x), x)
  assert seconds > 0
  assert gib == pytest.approx(2 * x.nbytes / 2**30)


def test_a_donated_argument_counts_once():
  x = jnp.zeros((256, 1024), jnp.float32)
  lowered = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x)
  _, _, gib = timing.compiled(lowered)
  assert gib == pytest.approx(x.nbytes / 2**30)


def test_the_first_run_is_longer_by_its_compilation():
  assert timing.first_run_seconds(lambda times: None) >= 0
