"""What linear maps read on a few batches of text: moments and magnitudes of inputs."""

import jax.numpy as jnp
import numpy as np

from gpt_jax.model import linear_maps
from gpt_jax.model.layers import Linear

COLLECTION = 'intermediates'
MOMENT, MEAN, PEAK = 'input_moment', 'input_mean', 'input_peak'


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
  by_path = {linear.path: linear for linear in first.values()}
  sums = given.require_data(method)(_watching(by_path, kinds), num_batches)
  return {
    kind: {
      name: np.asarray(sums[f'{linear.path}/{kind}'], np.float32)
      for name, linear in first.items()
    }
    for kind in kinds
  }


def _watching(by_path, kinds):
  """Returns `weights_BT -> intercept`, which sows what `kinds` ask for."""

  def make(weights_BT):
    def intercept(call, args, kwargs, context):
      module, path = context.module, '/'.join(context.module.path)
      is_output = isinstance(module, Linear) and context.method_name == 'finish'
      if is_output and path in by_path:
        for kind in kinds:
          value = _MEASURES[kind](by_path[path], args[0], weights_BT)
          module.sow(COLLECTION, kind, value, jnp.add, lambda: jnp.zeros(()))
      return call(*args, **kwargs)

    return intercept

  return make


def _mean(linear, x, weights_BT):
  x_BTC = jnp.abs(linear_maps.inputs_as_rows(linear, x))
  return (x_BTC * weights_BT[..., None]).sum((0, 1))


def _peak(linear, x, weights_BT):
  x_BTC = jnp.abs(linear_maps.inputs_as_rows(linear, x))
  return (x_BTC * (weights_BT[..., None] > 0)).max((0, 1))


_MEASURES = {MOMENT: linear_maps.second_moment, MEAN: _mean, PEAK: _peak}
