"""What linear maps read on a few batches of text: moments and magnitudes of inputs."""

import numpy as np

from gpt_jax.model import linear_inputs, linear_maps

MOMENT, MEAN, PEAK = 'input_moment', 'input_mean', 'input_peak'
_MEASURES = {
  MOMENT: linear_inputs.second_moment,
  MEAN: linear_inputs.mean_size,
  PEAK: linear_inputs.peak,
}


def input_name(linear):
  """Returns the same for LinearMaps that read the same array, such as query and key."""
  return f'{linear.path.rpartition("/")[0]}/{linear.letters[0]}'


def observe(given, method, num_batches, kinds):
  """Returns {kind: {input_name: float32 array}} over the inputs of all linear maps.

  Args:
    kinds: of MOMENT, sums of x^T x over tokens [stack, C, C]; MEAN, of |x| [stack, C];
      PEAK, of the maximum of |x| in a batch [stack, C].
  """
  linears = linear_maps.find(given.config.model)
  first = {input_name(linear): linear for linear in reversed(linears)}
  measures = {kind: _MEASURES[kind] for kind in kinds}
  watching = linear_inputs.watching(first.values(), measures)
  sums = given.require_data(method)(watching, num_batches)
  return {
    kind: {
      name: np.asarray(sums[f'{linear.path}/{kind}'], np.float32)
      for name, linear in first.items()
    }
    for kind in kinds
  }
