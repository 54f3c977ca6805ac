"""Plans side by side: each figure of both, and their ratio."""

import dataclasses

from gpt_jax import planning
from gpt_jax.planning import compare, topologies
from tests import tiny_runs


def test_figures_stand_beside_each_other_with_their_ratio():
  plan = planning.make_plan(tiny_runs.tiny_config(), topologies.parse('cpu'))
  twice = dataclasses.replace(
    plan, step_ms_bound=2 * plan.step_ms_bound, compute_ms=None
  )
  rows = {line: values for line, *values in compare.rows(plan, twice)}
  assert rows['step ms'] == [plan.step_ms_bound, twice.step_ms_bound, 2.0]
  assert rows['compute ms'] == [plan.compute_ms, None, None]
  assert rows['parameters GiB'][2] == 1.0
  assert 'network ms' not in rows  # neither has any
