"""Labels of a figure that would lie upon each other, moved apart."""

import numpy as np


def spread(levels, gap):
  """Returns a place for the label of each level, at least `gap` apart.

  Their order is kept, and the squares of the distances moved are least in all.
  """
  from scipy.optimize import isotonic_regression

  levels = np.asarray(levels, np.float64)
  if not len(levels):
    return levels
  order = np.argsort(levels, kind='stable')
  steps = gap * np.arange(len(levels))
  places = np.empty(len(levels))
  places[order] = isotonic_regression(levels[order] - steps).x + steps
  return places
