"""Labels of a figure that would lie upon each other, moved apart."""

import numpy as np


def spread(levels, gap):
  """Returns a place for the label of each level, at least `gap` apart.

  `gap`: of all labels, or the height of each, for neighbours that are half of both
  apart. Their order is kept, and the squares of the distances moved are least in all.
  """
  from scipy.optimize import isotonic_regression

  levels = np.asarray(levels, np.float64)
  if not len(levels):
    return levels
  order = np.argsort(levels, kind='stable')
  heights = np.broadcast_to(np.asarray(gap, np.float64), levels.shape)[order]
  between = (heights[1:] + heights[:-1]) / 2
  steps = np.concatenate([[0.0], np.cumsum(between)])
  places = np.empty(len(levels))
  places[order] = isotonic_regression(levels[order] - steps).x + steps
  return places
