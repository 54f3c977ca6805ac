"""The step at which two metrics files part, in any bit and beyond a tolerance."""

import json
import math

import pytest

from gpt_jax.tracking import metrics_diff
from gpt_jax.tracking.metrics_diff import Difference


def run(losses, **more):
  """Returns `{step: metrics}` of losses from step 1 on."""
  return {
    step: {'train/loss': loss, 'time': step * 1.5} | more
    for step, loss in enumerate(losses, start=1)
  }


def test_equal_runs_are_equal_whatever_the_clock_says():
  first, second = run([3.0, 2.0]), run([3.0, 2.0, 1.0])
  second[1]['time'] = second[2]['train/tokens_per_second'] = 9.0
  found = metrics_diff.compare(first, second, 0.0)
  assert found.is_bitwise and found.is_within_tolerance
  assert (found.steps, found.metrics) == ((1, 2), ('train/loss',))


def test_steps_of_any_bit_and_beyond_the_tolerance_are_found():
  first = run([4.0, 4.0, 4.0, 4.0])
  second = run([4.0, math.nextafter(4.0, 5.0), 4.0001, 4.1])
  found = metrics_diff.compare(first, second, 1e-3)
  assert [each.step for each in found.parts_at] == [2]
  assert [each.step for each in found.beyond_at] == [4]
  assert found.largest['train/loss'].step == 4
  assert not metrics_diff.compare(first, second, 1e-3, up_to=3).beyond_at


def test_a_number_beside_none_is_beyond_any_tolerance():
  first, second = run([None, None]), run([None, 2.0])
  found = metrics_diff.compare(first, second, 0.5)
  assert [each.step for each in found.beyond_at] == [2]
  assert found.beyond_at[0].to_dict()['relative'] is None


def test_norms_may_be_further_apart_and_counts_have_no_tolerance():
  norms = metrics_diff.NORM_FACTOR * 0.01
  cases = {'grad_norm': norms, 'loss': 0.01, 'accuracy': None}
  for name, allowed in cases.items():
    assert metrics_diff.tolerance_of(f'train/{name}', 0.01) == allowed
  first, second = run([1.0], **{'train/accuracy': 0.5}), run([1.0])
  second[1]['train/accuracy'] = 0.25
  found = metrics_diff.compare(first, second, 0.0)
  assert found.parts_at[0].relative == 0.5 and not found.beyond_at


def test_runs_without_a_common_step_are_neither_equal_nor_close():
  found = metrics_diff.compare(run([1.0]), {}, 1.0)
  assert not found.is_bitwise and not found.is_within_tolerance


@pytest.mark.parametrize(
  'pair, relative', [((0.0, 0.0), 0), ((2.0, 1.0), 0.5), ((-1, 1), 2)]
)
def test_a_relative_difference_is_a_share_of_the_larger(pair, relative):
  assert Difference(1, 'train/loss', *pair).relative == relative


def test_lines_of_a_step_are_merged_and_a_torn_line_is_left_out(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  records = [
    {'step': 1, 'train/loss': 2.0}, {'step': 1, 'validation/loss': None},
    {'step': 1, 'train/loss': 3.0},
  ]  # fmt: skip
  path.write_text('\n'.join(map(json.dumps, records)) + '\n{"step": 2, "tr')
  assert metrics_diff.by_step(path) == {1: {'train/loss': 3.0, 'validation/loss': None}}
