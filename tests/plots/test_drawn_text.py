"""What a file draws by itself is told in words, with its numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gpt_jax import sweeps
from gpt_jax.plots import captions, drawn_text, heat_map

pytestmark = pytest.mark.slow  # they draw


def test_the_points_of_a_labelled_line_are_told():
  canvas = Figure()
  axis = canvas.subplots()
  axis.plot([1, 2, 4], [0.5, np.nan, 0.25], 'o', label='ours')
  axis.plot([1, 2], [3, 4])
  axis.plot([3], [0.125], '*')
  axis.axhline(1.5, label='chance')
  assert (
    drawn_text.describe(canvas)
    == 'ours 0.5 at 1, 0.25 at 4; marked 0.125 at 3; chance 1.5'
  )
  figure = sweeps.Figure('f', 'Accuracy', draw=print)
  text = captions.alt(figure, None, canvas)
  assert text == f'Accuracy: {drawn_text.describe(canvas)}.'


def test_a_long_line_is_told_by_its_ends_and_its_lowest():
  canvas = Figure()
  axis = canvas.subplots()
  x = np.arange(20)
  axis.plot(x, (x - 5) ** 2, label='parabola')
  axis.plot(x, -x, label='falls')
  assert drawn_text.describe(canvas) == (
    'parabola from 25 at 0 to 196 at 19, lowest 0 at 5; falls from 0 at 0 to -19 at 19'
  )


def test_a_heat_map_is_told_cell_by_cell():
  canvas = Figure()
  axis = canvas.subplots()
  heat_map.draw(axis, [[0.0, 0.5], [1.0, np.nan]], ['a', 'b'], [1, 2])
  assert drawn_text.describe(canvas) == 'a: 1 0, 2 0.5; b: 1 1'


def test_of_a_large_heat_map_the_extremes_are_told():
  canvas = Figure()
  values_RC = np.arange(81.0).reshape(9, 9)
  heat_map.draw(canvas.subplots(), values_RC, [f'r{i}' for i in range(9)], range(9))
  assert drawn_text.describe(canvas) == 'lowest r0, 0 0; highest r8, 8 80'
