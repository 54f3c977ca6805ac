"""The loss curve is drawn from any part of a metrics.jsonl."""

import numpy as np
import pytest
from PIL import Image

from gpt_jax.tracking import loss_curve, metrics_file


def write_run(path, steps, *, with_rate=True, with_eval=True):
  """Writes the metrics of a run whose loss falls as 1/step, and returns the path."""
  file = metrics_file.MetricsFile(path)
  for step in range(1, steps + 1):
    values = {'train/loss': 1.0 + 4.0 / step}
    if with_rate:
      values['train/learning_rate'] = 1e-3 / step
    if with_eval and step % 5 == 0:
      values['validation/loss'] = 1.1 + 4.0 / step
    file.write(step, values, tokens=step, time=step)
  file.close()
  return path


def ink(path):
  """Returns how many pixels are not white."""
  return int((np.asarray(Image.open(path).convert('L')) < 250).sum())


def test_legend_and_levels_name_what_is_drawn(tmp_path):
  series = metrics_file.read(write_run(tmp_path / 'metrics.jsonl', 40))
  lines = [('2-gram', 2.0), ('6-gram', 1.5), ('bz2', 1.51)]
  loss_axis, rate_axis = loss_curve.draw(series, lines, title='a run').axes
  legend = [text.get_text() for text in loss_axis.get_legend().get_texts()]
  assert legend == ['train', 'validation (1.200)']
  labels = {text.get_text(): text.xyann[1] for text in loss_axis.texts}
  assert list(labels) == ['6-gram  1.500', 'bz2  1.510', '2-gram  2.000']
  # Levels that nearly coincide keep labels that can be read.
  low, high = loss_axis.get_ylim()
  assert np.diff(list(labels.values())).min() >= 0.04 * (high - low)
  assert low < 1.0 + 4.0 / 40 and high > 2.0
  assert rate_axis.get_ylabel() == 'learning rate'


def test_without_a_learning_rate_there_is_one_panel(tmp_path):
  path = write_run(tmp_path / 'metrics.jsonl', 5, with_rate=False, with_eval=False)
  assert len(loss_curve.draw(metrics_file.read(path)).axes) == 1


@pytest.mark.parametrize('steps', [0, 1, 2])
def test_a_run_of_few_steps_is_drawn(tmp_path, steps):
  path = write_run(tmp_path / 'metrics.jsonl', steps)
  out = loss_curve.save(path, tmp_path / 'a.png', reference_lines=[('table', 2.0)])
  assert ink(out) > 0


def test_unfinished_lines_and_null_losses_are_left_out(
  tmp_path,
):
  path = write_run(tmp_path / 'metrics.jsonl', 20)
  complete = loss_curve.save(path, tmp_path / 'complete.png')
  with open(path, 'a') as file:
    file.write('{"step": 21, "tokens": 21, "time": 21, "train/loss": null}\n')
    file.write('{"step": 22, "tok')
  partial = loss_curve.save(path, tmp_path / 'partial.png')
  assert partial.read_bytes() == complete.read_bytes()


def test_smoothing_keeps_a_straight_line():
  line = np.linspace(3.0, 1.0, 200)
  np.testing.assert_allclose(loss_curve.smooth(line), line, rtol=1e-12)


def test_smoothing_reduces_noise():
  noisy = 2.0 + np.random.default_rng(0).normal(0.0, 0.1, 400)
  # The window holds 41 values: the spread falls by sqrt(41), away from the ends.
  assert np.std(loss_curve.smooth(noisy)[20:-20]) < 0.1 / 5


def test_the_end_follows_the_trend_and_not_the_last_value():
  values = np.linspace(3.0, 2.0, 101)
  values[-1] += 1.0
  ends = loss_curve.smooth(values)[-6:]
  slope = np.polyfit(np.arange(31), values[-31:], 1)[0]
  np.testing.assert_allclose(ends, values[-11:].mean() + slope * np.arange(6))
  assert ends[-1] - 2.0 < 0.15  # of 1.0: a share of 1/11 and what the slope adds


def test_a_steep_start_keeps_its_first_value():
  values = 3.0 + 5.0 * np.exp(-np.arange(200.0))
  assert loss_curve.smooth(values)[0] == 8.0
