"""Where a curve first comes to a level, between its points by straight lines."""

import math

import numpy as np


def first_at_most(x_P, values_P, level):
  """Returns the x at which the values first are `level` or less; infinity: nowhere."""
  x_P, values_P = np.asarray(x_P, float), np.asarray(values_P, float)
  is_there_P = values_P <= level
  if not is_there_P.any():
    return math.inf
  i = int(np.argmax(is_there_P))
  if i == 0:
    return float(x_P[0])
  share = (values_P[i - 1] - level) / (values_P[i - 1] - values_P[i])
  return float(x_P[i - 1] + share * (x_P[i] - x_P[i - 1]))
