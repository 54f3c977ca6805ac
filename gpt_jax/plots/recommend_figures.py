"""The figure of a recommender's evaluation: each method on each group of users."""

import pathlib

import numpy as np

from gpt_jax.plots import figures, palette
from gpt_jax.plots.task_figures import make_canvas, styled

METRIC = 'ndcg_at_10'
NAME = 'figure'


@styled
def draw(groups):
  """Returns dots of METRIC with 95 % intervals over users, a row for each method.

  `groups`: {name: Group} as `recommend/comparison.py` has them.
  """
  names = list(groups)
  methods = list(groups[names[0]].methods)
  canvas, (axis,) = make_canvas(1, (8.6, 1.2 + 0.62 * len(methods)))
  offsets = np.linspace(-0.28, 0.28, len(names))
  for number, name in enumerate(names):
    color, _, marker = palette.of_number(number)
    for row, method in enumerate(methods):
      values_U = np.array(groups[name].per_user[method])
      mean = values_U.mean()
      half = 1.96 * values_U.std() / np.sqrt(len(values_U))
      axis.errorbar(
        mean, row + offsets[number], xerr=half, color=color, marker=marker,
        markersize=5, capsize=2, label=name if not row else None,
      )  # fmt: skip
  axis.set_yticks(range(len(methods)), methods)
  axis.invert_yaxis()
  axis.set(xlabel='NDCG@10 over the whole catalogue')
  axis.set_xlim(left=0)
  axis.legend(loc='center left', bbox_to_anchor=(1.01, 0.5))
  return canvas


@styled
def save(groups, folder):
  """Writes FOLDER/figure.svg and figure.png; returns the path of the first."""
  canvas = draw(groups)
  path = pathlib.Path(folder) / f'{NAME}.svg'
  canvas.savefig(path, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
  canvas.savefig(path.with_suffix('.png'), dpi=150, metadata={'Software': None})
  figures.round_places(path)
  return path
