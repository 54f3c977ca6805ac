"""A table of numbers as colours."""

import numpy as np
import pytest

from gpt_jax.analysis.results import Results
from gpt_jax.plots import figures, heat_map
from gpt_jax.sweeps import Figure
from tests.plots.test_series import results
from tests.sweeps import fake_study


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


@pytest.mark.slow
def test_heads_of_each_layer_are_sorted_before_the_mean(tmp_path):
  def score(point, layer, head):  # seeds differ in which head it is
    return layer + float(head == point.config.seed)

  rows = {'one': {'model.num_layers': 1}, 'two': {'model.num_layers': 2}}
  study = fake_study.make(tmp_path, rows=rows, seeds=(0, 1))
  for point in study.points:
    model = point.config.model
    by_head = {
      f'prefix_matching/layer_{i}/head_{h}': score(point, i, h)
      for i in range(model.num_layers)
      for h in range(model.num_heads)
    }
    fake_study.finish(point, {'validation': {'loss': 1.0}, 'statistics': by_head})
  draw = heat_map.of_heads('prefix_matching', low=0, high=2)
  axis = figures.draw(Figure('f', 'F', draw=draw), Results(study)).axes[0]
  cells = np.array([text.get_text() for text in axis.texts], float).reshape(3, -1)
  assert cells[:, -1].tolist() == [1.0, 1.0, 2.0]
  assert cells[:, 0].tolist() == [0.0, 0.0, 1.0]
  labels = [text.get_text() for text in axis.get_yticklabels()]
  assert labels == ['one: 1', 'two: 1', 'two: 2']
