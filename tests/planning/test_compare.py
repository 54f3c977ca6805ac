"""Plans side by side: each metric of both, and their ratio."""

import dataclasses

from gpt_jax import planning
from gpt_jax.planning import compare, topologies
from tests import tiny_runs


def test_metrics_of_two_plans_come_with_their_ratio():
  plan = planning.make_plan(
    tiny_runs.tiny_config({'model.num_layers': 1}), topologies.parse('cpu')
  )
  time = dataclasses.replace(plan.time, step_ms_bound=2 * plan.time.step_ms_bound)
  twice = dataclasses.replace(plan, time=time, network=None)
  rows = {line: values for line, *values in compare.rows(plan, twice)}
  assert rows['step ms'] == [plan.time.step_ms_bound, time.step_ms_bound, 2.0]
  assert rows['parameters GiB'][2] == 1.0
  assert 'network ms' not in rows  # neither has any
