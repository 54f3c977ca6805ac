"""Where runs are, and how long they take."""

import pytest

from gpt_jax.sweeps import pace
from gpt_jax.tracking.metrics_file import MetricsFile
from tests.sweeps import fake_study, studies


def test_the_last_line_with_a_loss_says_how_far_a_run_is(tmp_path):
  assert pace.last_logged(tmp_path) == pace.LastLogged()
  file = MetricsFile(tmp_path / 'metrics.jsonl')
  for step in range(1, 500):
    file.write(step, {'train/loss': 1 / step}, tokens=0, time=step)
  file.write(499, {'validation/loss': 3.0}, tokens=0, time=499)
  file.close()
  with open(tmp_path / 'metrics.jsonl', 'a') as opened:
    opened.write('{"step": 500, "train/')
  assert pace.last_logged(tmp_path) == pace.LastLogged(499, 1 / 499, 499.0)


def test_time_is_that_of_finished_points_by_their_work(tmp_path):
  study = fake_study.make(tmp_path, loss=lambda point: None)
  first, second = study.points[:2]
  fake_study.finish(first, {'validation': {'loss': 1.0}}, seconds=60.0)
  estimate = pace.Estimate(study, [first])
  ratio = pace.approximate_flops(second.config) / pace.approximate_flops(first.config)
  assert estimate.is_measured
  assert estimate.seconds(second) == pytest.approx(60.0 * ratio, rel=0.2)
  assert estimate.seconds(second, share=0.0) == 0.0


def test_time_before_any_point_is_that_of_the_file(tmp_path):
  study = studies.study(tmp_path, rows="{'a': {}, 'b': {'train.steps': 12}}")
  estimate = pace.Estimate(study, [])
  short, long = map(estimate.seconds, study.points)
  assert short + long == pytest.approx(60.0)
  assert long == pytest.approx(3 * short)
