"""The figure of an evaluation shows each method on each group."""

import types

from gpt_jax.plots import recommend_figures

GROUPS = {
  name: types.SimpleNamespace(
    methods=dict.fromkeys(('popularity', 'text model')),
    per_user={'popularity': [0.1, 0.3], 'text model': [0.2, 0.6]},
  )
  for name in ('known users', 'new users, 1 liked')
}


def test_each_method_has_a_row_and_each_group_a_dot(tmp_path):
  (axis,) = recommend_figures.draw(GROUPS).axes
  assert [one.get_text() for one in axis.get_yticklabels()] == [
    'popularity',
    'text model',
  ]
  assert sorted(float(line.get_xdata()[0]) for line in axis.get_lines() if
                len(line.get_xdata()) == 1 and line.get_marker() in 'os') == [
    0.2, 0.2, 0.4, 0.4]  # fmt: skip
  path = recommend_figures.save(GROUPS, tmp_path)
  assert path.exists() and path.with_suffix('.png').exists()
