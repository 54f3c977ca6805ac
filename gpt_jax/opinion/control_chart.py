"""An EWMA chart of the negative share, with limits of a stated false-alarm chance.

z_t = (1 - lambda) z_{t-1} + lambda k_t / n_t (Roberts 1959); lambda = 1 is a p chart.
The limits of a bucket are quantiles of z_t in control, given its number of texts and
that nothing has signalled so far, so that each bucket has the chance alpha of a false
alarm whatever the counts are, and the run length is geometric with mean 1 / alpha:
dynamic probability control limits (Shen, Zou, Jiang & Tsung 2013, "Monitoring Poisson
count data with probability control limits when sample sizes are time varying"). The
distribution of z_t is carried along on a grid, as in Brook & Evans 1972.
"""

import base64
import dataclasses
import zlib

import numpy as np
from scipy import stats

CELLS = 2000
"""Of the grid over shares from 0 to 1."""
NEGLIGIBLE = 1e-10
"""Mass of a cell, or of a count, that is left out."""


@dataclasses.dataclass(frozen=True)
class Point:
  """A bucket on the chart."""

  smoothed: float
  lower: float
  upper: float
  side: int
  """1 above the upper limit, -1 below the lower one, 0 inside."""


class Chart:
  """The state of a chart; `step` takes a bucket after the other."""

  def __init__(self, baseline, alpha, smoothing):
    """Takes a `Baseline`, the chance of a false alarm in a bucket, and lambda."""
    self.baseline, self.alpha, self.smoothing = baseline, alpha, smoothing
    self.shares_Q, self._weights_Q = baseline.nodes()
    self.reset()

  def reset(self):
    """Starts again from the baseline, as after an alarm that has ended."""
    self.smoothed = self.baseline.share
    self.mass_QG = np.zeros((len(self.shares_Q), CELLS + 1), np.float32)
    place = self.baseline.share * CELLS
    low = min(int(place), CELLS - 1)
    self.mass_QG[:, low] = self._weights_Q * (low + 1 - place)
    self.mass_QG[:, low + 1] = self._weights_Q * (place - low)

  def step(self, negative, total):
    """Returns the Point of a bucket with `total` > 0 texts."""
    lower, upper = self.advance(total)
    self.smoothed += self.smoothing * (negative / total - self.smoothed)
    side = int(self.smoothed > upper) - int(self.smoothed < lower)
    return Point(self.smoothed, lower, upper, side)

  def advance(self, total):
    """Returns the limits of the next bucket, and takes it as one without an alarm."""
    pmfs_Q = [pmf(total, share, self.baseline.correlation) for share in self.shares_Q]
    mass_QG = np.stack(
      [
        spread(mass_G, pmf_K, total, self.smoothing)
        for mass_G, pmf_K in zip(self.mass_QG, pmfs_Q, strict=True)
      ]
    )
    lower, upper = limits(mass_QG.sum(axis=0), self.alpha)
    mass_QG[:, :lower] = 0.0
    mass_QG[:, upper + 1 :] = 0.0
    # In float32 its state is half as long on the disk, and a restored chart the same.
    self.mass_QG = (mass_QG / mass_QG.sum()).astype(np.float32)
    return (lower - 0.5) / CELLS, (upper + 0.5) / CELLS

  def to_json(self):
    """Returns plain values from which `restore` continues bit by bit."""
    used = np.flatnonzero(self.mass_QG.any(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    content = zlib.compress(self.mass_QG[:, low:high].astype('<f4').tobytes())
    mass = base64.b64encode(content).decode()
    return dict(smoothed=self.smoothed, low=low, high=high, mass=mass)

  def restore(self, saved):
    """Takes the state of `to_json`."""
    self.smoothed = saved['smoothed']
    low, high = saved['low'], saved['high']
    content = np.frombuffer(zlib.decompress(base64.b64decode(saved['mass'])), '<f4')
    self.mass_QG = np.zeros((len(self.shares_Q), CELLS + 1), np.float32)
    self.mass_QG[:, low:high] = content.reshape(len(self.shares_Q), high - low)


def pmf(total, share, correlation):
  """Returns the chance of each count 0 to `total` [K] of a beta-binomial."""
  counts_K = np.arange(total + 1)
  if not correlation:
    return stats.binom.pmf(counts_K, total, share)
  size = (1 - correlation) / correlation
  return stats.betabinom.pmf(counts_K, total, share * size, (1 - share) * size)


def spread(mass_G, pmf_K, total, smoothing):
  """Returns the distribution of z on the grid after a bucket of `total` texts.

  A value between two cells is shared out between them, so that means are exact.
  """
  cells = np.flatnonzero(mass_G > NEGLIGIBLE)
  counts = np.flatnonzero(pmf_K > NEGLIGIBLE)
  places = (1 - smoothing) * cells[:, None] + smoothing * CELLS * counts / total
  weights = mass_G[cells, None].astype(float) * pmf_K[counts]
  low = np.minimum(places.astype(int), CELLS - 1)
  right = weights * (places - low)
  found_G = np.bincount(low.ravel(), (weights - right).ravel(), CELLS + 1)
  return found_G + np.bincount(low.ravel() + 1, right.ravel(), CELLS + 1)


def limits(mass_G, alpha):
  """Returns the first and the last cell inside, alpha / 2 at most beyond each."""
  mass_G = mass_G / mass_G.sum()
  below_G, above_G = np.cumsum(mass_G), np.cumsum(mass_G[::-1])
  lower = int(np.searchsorted(below_G, alpha / 2, side='right'))
  upper = CELLS - int(np.searchsorted(above_G, alpha / 2, side='right'))
  return lower, upper
