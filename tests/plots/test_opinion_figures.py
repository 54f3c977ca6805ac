"""Control charts and trends show what the points say."""

import numpy as np

from gpt_jax.plots import opinion_figures

HOUR = 3600.0


def points(count=20, judged_from=5):
  found = []
  for i in range(count):
    one = dict(start=i * HOUR, negative=i % 4, total=10, share=(i % 4) / 10)
    if i >= judged_from:
      one |= dict(smoothed=0.2, lower=0.1, upper=0.3, side=int(i == 12))
    found.append(one)
  return found


def lines(axis):
  return {line.get_label(): line for line in axis.get_lines()}


def test_a_chart_has_shares_limits_and_what_is_outside():
  upper, lower = opinion_figures.chart(points(), usual=0.15).axes
  found = lines(upper)
  assert len(found['negative share'].get_xdata()) == 20
  assert len(found['control limits'].get_xdata()) == 15
  assert found['outside its limits'].get_ydata().tolist() == [0.2]
  assert set(found['usual share'].get_ydata()) == {0.15}
  assert [bar.get_height() for bar in lower.patches] == [10] * 20


def test_a_chart_that_still_learns_has_no_limits():
  upper, _ = opinion_figures.chart(points(3)).axes
  assert 'control limits' not in lines(upper)


def test_trends_are_shares_of_runs_of_buckets():
  (axis,) = opinion_figures.trends({'a $1': points(90), 'b': points(4)}).axes
  found = lines(axis)
  assert len(found['a \\$1'].get_xdata()) == 30
  np.testing.assert_allclose(found['b'].get_ydata(), [0, 0.1, 0.2, 0.3])


def test_at_most_six_topics_are_drawn_those_with_most_texts():
  many = {f'topic {i}': points(i + 1) for i in range(9)}
  (axis,) = opinion_figures.trends(many).axes
  assert set(lines(axis)) == {f'topic {i}' for i in range(3, 9)}
