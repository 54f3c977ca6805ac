"""The range of an axis: all data, and the reference lines that leave it readable."""

import numpy as np

MIN_DATA_SHARE = 0.25
MARGIN = 0.06


def limits(values, levels=(), *, is_log=False):
  """Returns (low, high) around `values` and reference `levels`; None around nothing.

  The nearest levels come first; one that would leave the data less than MIN_DATA_SHARE
  of the axis stays outside. Of a logarithmic axis, what is not above 0 has no place.
  """
  values, levels = _shown(values, is_log), _shown(levels, is_log)
  if not len(values):
    values = levels
  if not len(values):
    return None
  data_low, data_high = low, high = values.min(), values.max()
  for level in sorted(
    levels, key=lambda level: max(data_low - level, level - data_high)
  ):
    wider = min(low, level), max(high, level)
    if data_high - data_low >= MIN_DATA_SHARE * (wider[1] - wider[0]):
      low, high = wider
  margin = MARGIN * (high - low) or (0.1 if is_log else 0.05 * abs(high) or 0.5)
  ends = low - margin, high + margin
  return tuple(float(np.exp(end)) for end in ends) if is_log else ends


def _shown(values, is_log):
  values = np.asarray(values, np.float64).ravel()
  values = values[np.isfinite(values) & ((values > 0) | (not is_log))]
  return np.log(values) if is_log else values
