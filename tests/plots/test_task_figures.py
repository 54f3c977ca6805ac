"""Figures of a fine-tuned run, read back from what was drawn."""

import numpy as np
import pytest

from gpt_jax.plots import palette, task_figures

SERIES = {
  'train/loss': [(1, 2.0), (10, 1.0)],
  'train/accuracy': [(1, 0.1), (10, 0.5)],
  'validation/loss': [(5, 1.5), (10, 1.25)],
  'validation/accuracy': [(5, 0.25), (10, 0.5)],
  'validation/f1': [(5, 0.2), (10, 0.4)],
  'train/grad_norm': [(1, 9.0)],
}


def points(axis):
  return {
    line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axis.lines
  }


def test_curves_are_loss_and_the_metric_with_the_best_step():
  loss, metric = task_figures.curves(SERIES, 'accuracy', best_step=5).axes
  assert points(loss)['validation'] == SERIES['validation/loss']
  assert points(metric)['train'] == SERIES['train/accuracy']
  assert [x for x, _ in points(metric)['best step']] == [5, 5]
  colors = [{x.get_label(): x.get_color() for x in a.lines} for a in (loss, metric)]
  assert colors[0] == colors[1] and colors[0]['train'] == palette.SERIES[0]
  for metric in ('loss', 'never_measured'):
    (only,) = task_figures.curves(SERIES, metric).axes
    assert points(only).keys() == {'train', 'validation'}


def test_a_metric_that_training_lacks_has_the_sets_alone():
  _, metric = task_figures.curves(SERIES, 'f1').axes
  assert points(metric) == {'validation': SERIES['validation/f1']}


def test_long_curves_are_smoothed_and_thinned():
  steps = range(1, 2001)
  series = {'train/loss': [(step, 1.0 + step % 2) for step in steps]}
  (axis,) = task_figures.curves(series, 'loss').axes
  smooth = next(line for line in axis.lines if line.get_label() == 'train')
  assert len(smooth.get_xdata()) == task_figures.MAX_PLACES
  # Windows are short at the start, which is steep in real runs.
  np.testing.assert_allclose(smooth.get_ydata()[2:], 1.5, atol=0.02)


def test_cells_of_a_confusion_are_counts_coloured_by_row():
  counts = [[90, 10], [0, 0]]
  axis, _ = task_figures.confusion(counts, ['cost $5', 'x' * 40]).axes
  assert [text.get_text() for text in axis.texts] == ['90', '10']
  (image,) = axis.images
  shown = np.ma.filled(image.get_array(), np.nan)
  np.testing.assert_allclose(shown, [[0.9, 0.1], [np.nan, np.nan]])
  names = [label.get_text() for label in axis.get_yticklabels()]
  assert names == [r'cost \$5', 'x' * (task_figures.MAX_LETTERS - 1) + '…']


@pytest.mark.parametrize('count', [1, task_figures.MAX_CLASSES + 1])
def test_a_confusion_that_nobody_can_read_is_not_drawn(count):
  names = [str(i) for i in range(count)]
  assert task_figures.confusion(np.eye(count), names) is None


def test_calibration_shows_shares_of_its_bins():
  bins = task_figures.CALIBRATION_BINS
  confidence = np.repeat([1.5 / bins, (bins - 0.5) / bins], [4, 10])
  right = np.array([1, 0, 0, 0] + [1] * 9 + [0], bool)
  upper, lower = task_figures.calibration(confidence, right).axes
  assert [bar.get_height() for bar in upper.patches] == [0.25, 0.9]
  heights = [bar.get_height() for bar in lower.patches]
  assert heights == [0, 4, *[0] * (bins - 3), 10]
  np.testing.assert_allclose(
    [bar.get_x() + bar.get_width() / 2 for bar in upper.patches],
    [1.5 / bins, (bins - 0.5) / bins],
  )


def test_full_confidence_is_in_the_last_bin():
  _, lower = task_figures.calibration([1.0, 0.0], [True, False]).axes
  heights = [bar.get_height() for bar in lower.patches]
  assert heights[0] == heights[-1] == 1


def test_figures_take_the_colours_of_a_dark_page(tmp_path):
  canvas = task_figures.curves(SERIES, 'accuracy')
  drawn = task_figures.save(canvas, 'curves', 'T', 'caption', 'alt', tmp_path)
  svg = drawn.svg.read_text()
  assert 'var(--c-' in palette.with_variables(svg)
  assert f'fill: {palette.INK}' in svg and 'fill: #000000' not in svg
  assert (drawn.name, drawn.caption, drawn.alt) == ('curves', 'caption', 'alt')
