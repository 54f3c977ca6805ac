"""Names stand beside the data, never on it, and not on each other."""

import itertools

import pytest

from gpt_jax.plots import figures
from gpt_jax.sweeps import Figure, Line
from tests.plots import test_series

pytestmark = pytest.mark.slow  # they draw


def boxes_of(found, **fields):
  canvas = figures.draw(Figure('f', 'F', **fields), found)
  canvas.draw_without_rendering()
  axis = canvas.axes[0]
  shown = [text for text in axis.texts if text.get_text()]
  renderer = canvas.canvas.get_renderer()
  # `Text`'s own box: an annotation's has its arrow in it.
  return axis, [(t.get_text(), t._get_layout(renderer)[0], t) for t in shown], canvas


def test_labels_stand_right_of_the_data_and_apart(tmp_path):
  found = test_series.results(tmp_path, lambda p: 1 + p.config.seed / 1000)
  lines = [Line(f'line {i}', 1 + i / 500, 'us') for i in range(4)]
  axis, boxes, canvas = boxes_of(found, lines=tuple(lines))
  assert len(boxes) == 6
  right = axis.get_window_extent().x1
  extents = []
  for _, box, text in boxes:
    x, y = axis.transAxes.transform(text.xyann)
    assert x > right
    extents.append((y - box.height / 2, y + box.height / 2))
  for (_, top), (bottom, _) in itertools.pairwise(sorted(extents)):
    assert top <= bottom + 1.0  # a pixel
  assert extents[0][0] > 0


def test_too_many_names_become_a_legend(tmp_path):
  found = test_series.results(tmp_path)
  lines = tuple(Line(f'line {i}', i, 'us') for i in range(25))
  axis, boxes, canvas = boxes_of(found, lines=lines)
  assert not boxes
  assert len(canvas.legends[0].get_texts()) == 27


def test_a_line_outside_of_the_axes_has_an_arrow(tmp_path):
  found = test_series.results(tmp_path, lambda p: 1 + p.config.seed / 1000)
  lines = (Line('above', 99, 'us'), Line('below', -99, 'us'), Line('in', 1.5, 'us'))
  axis, boxes, _ = boxes_of(found, lines=lines)
  names = {text.partition('  ')[0] for text, *_ in boxes}
  assert names == {'base', 'ours', '↑ above', '↓ below', 'in'}
  assert axis.get_ylim()[1] < 3


def test_a_legend_has_an_end(tmp_path):
  lines = tuple(Line(f'line {i}', i, 'us') for i in range(100))
  *_, canvas = boxes_of(test_series.results(tmp_path), lines=lines)
  texts = [text.get_text() for text in canvas.legends[0].get_texts()]
  assert texts[-1] == 'and 62 more' and len(texts) == 41


def test_colors_and_line_styles_are_named_apart(tmp_path):
  found = test_series.results(tmp_path, sweep=test_series.RATES)
  lines = tuple(Line(f'line {i}', i, 'us') for i in range(25))
  *_, canvas = boxes_of(found, lines=lines)
  names = [text.get_text() for text in canvas.legends[0].get_texts()]
  assert names[:4] == ['base', 'ours', 'learning rate 0.1', 'learning rate 0.01']
