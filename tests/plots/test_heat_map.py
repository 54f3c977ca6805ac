"""A table of numbers as colours."""

import numpy as np
import pytest

from gpt_jax.plots import figures, heat_map
from gpt_jax.sweeps import Figure
from tests.plots.test_series import results


@pytest.mark.slow
def test_numbers_stand_in_their_cells_and_can_be_read(tmp_path):
  values_RC = np.array([[0.0, 1.0], [0.5, np.nan]])

  def draw(axes, results):
    heat_map.draw(axes, values_RC, ['a', 'b'], [1, 2], low=0, high=1)

  axis = figures.draw(Figure('f', 'F', draw=draw), results(tmp_path)).axes[0]
  shown = {text.get_position(): text for text in axis.texts}
  assert {place: text.get_text() for place, text in shown.items()} == {
    (0, 0): '0.00',
    (1, 0): '1.00',
    (0, 1): '0.50',
  }
  assert shown[0, 0].get_color() == heat_map.ON_DARK
  assert shown[1, 0].get_color() == heat_map.ON_BRIGHT
  assert [text.get_text() for text in axis.get_yticklabels()] == ['a', 'b']
