"""How often the right passage is among the first k, for each way to search."""

import pathlib

import numpy as np

from gpt_jax.core.errors import StorageError
from gpt_jax.plots import figures, palette

NAMES = {'bm25': 'words (BM25)', 'dense': 'vectors', 'fused': 'both, fused'}
SIZE = (6.4, 3.6)  # inches


def draw(curves):
  """Returns the matplotlib figure of {method: [recall@1, recall@2, ...]}."""
  import matplotlib
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  from matplotlib.ticker import MaxNLocator

  with matplotlib.rc_context(figures.STYLE):
    canvas = Figure(figsize=SIZE, layout='constrained')
    FigureCanvasAgg(canvas)
    axis = canvas.subplots()
    for number, (method, recalls) in enumerate(curves.items()):
      color, style, marker = palette.of_number(number)
      axis.plot(
        np.arange(1, len(recalls) + 1), recalls, color=color, linestyle=style,
        marker=marker, markersize=4, linewidth=1.9, label=NAMES.get(method, method),
      )  # fmt: skip
    axis.set(xlabel='passages found', ylabel='share of questions with the right one')
    axis.set_xlim(left=0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc='lower right')
  return canvas


def save(curves, path):
  """Writes the figure to a file, .png or .svg. Raises StorageError."""
  path = pathlib.Path(path)
  try:
    draw(curves).savefig(path, dpi=144)
  except (OSError, ValueError) as error:
    raise StorageError(f'--figure={path}: cannot be written: {error}') from error
