"""IsoFLOP curves, for the `draw` of a figure: loss over size, a colour a budget."""

import numpy as np

from gpt_jax.analysis import fits, isoflop
from gpt_jax.plots import palette


def draw(axes, results):
  """Draws losses over N, the parabola of each budget, and its minimum as a star."""
  found = isoflop.runs(results)
  colors = palette.of_ordered(len(found))
  for color, (budget, (n, _, loss)) in zip(colors, found.items(), strict=True):
    axes.plot(n, loss, 'o', color=color, label=f'{budget:.0e} FLOPs')
    if len(n) < 3:  # not finished yet
      continue
    parabola, x = fits.fit_isoflop(n, loss), np.geomspace(min(n), max(n), 50)
    axes.plot(x, parabola.loss(x), '-', color=color, linewidth=1)
    if parabola.has_interior_minimum:
      lowest = parabola.minimum
      axes.plot(lowest, parabola.loss(lowest), '*', color=color, markersize=13)
  axes.set(xscale='log', xlabel='parameters', ylabel='validation loss, nats')
  axes.legend()


draw.caption = 'A dot is a run; a star is the minimum of the parabola of a budget.'
