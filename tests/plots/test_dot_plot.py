"""Dots over names: means, seeds and their range, each name on its line."""

import numpy as np
import pytest

from gpt_jax.plots import figures
from gpt_jax.sweeps import Figure, Line
from tests.plots.test_series import RATES, results

pytestmark = pytest.mark.slow  # they draw


def test_a_row_has_its_mean_its_seeds_and_their_range(tmp_path):
  found = results(tmp_path)
  level = Line('floor', 1.5, 'us')
  canvas = figures.draw(Figure('f', 'F', x='row', lines=(level,)), found)
  axis = canvas.axes[0]
  assert [text.get_text() for text in axis.get_yticklabels()] == ['base', 'ours']
  means = {line.get_label(): line for line in axis.get_lines()}
  own = list(found.where(row='ours').by_seed('validation/loss').values())
  np.testing.assert_allclose(means['ours'].get_xdata(), [np.mean(own)])
  assert list(means['ours'].get_ydata()) == [1]
  at = [x for line in axis.get_lines() for x in line.get_xdata() if line.get_alpha()]
  assert set(own) <= set(at)
  (segment,) = axis.collections[1].get_segments()
  assert segment[:, 0].tolist() == [min(own), max(own)]
  assert [t.get_text() for t in canvas.legends[0].get_texts()] == ['floor  1.5']


def test_groups_of_one_name_stand_side_by_side(tmp_path):
  found = results(tmp_path, sweep=RATES)
  figure = Figure('f', 'F', x='row', by='optimizer.learning_rate')
  canvas = figures.draw(figure, found)
  means = {line.get_label(): line for line in canvas.axes[0].get_lines()}
  one, two = (means[f'learning rate {rate}'].get_ydata() for rate in (0.01, 0.1))
  np.testing.assert_allclose(one, [-0.2, 0.8])
  np.testing.assert_allclose(two, [0.2, 1.2])
  assert len(canvas.legends[0].get_texts()) == 2


def test_what_an_axis_adds_to_a_row_is_written_beside_it(tmp_path):
  found = results(tmp_path, sweep=RATES)
  canvas = figures.draw(Figure('f', 'F', x='row'), found)
  shown = [text.get_text() for text in canvas.axes[0].texts]
  assert shown[0] == '2.1  learning rate 0.1'
  assert not canvas.legends


def test_a_line_beside_the_axis_has_an_arrow_to_its_side(tmp_path):
  lines = (Line('low', -99, 'us'), Line('high', 999, 'us'))
  canvas = figures.draw(Figure('f', 'F', x='row', lines=lines), results(tmp_path))
  texts = [text.get_text() for text in canvas.legends[0].get_texts()]
  assert texts == ['← low  -99', '→ high  999']
