"""What linear maps read, measured while a model runs.

A measure is `(LinearMap, x, weights_BT) -> array`; x is the input as the map has it,
and tokens of weight 0 are padding. Its values are summed over batches, and stacked by a
scan.
"""

import jax.numpy as jnp

from gpt_jax.model.layers import Linear

OBSERVED = 'intermediates'
"""The collection that interceptors sow into; a scan over layers stacks it."""


def watching(linears, measures):
  """Returns `weights_BT -> intercept`, which sows `{name: measure}` for each LinearMap.

  The sums lie in OBSERVED as `path of the map/name`.
  """
  by_path = {linear.path: linear for linear in linears}

  def make(weights_BT):
    def intercept(call, args, kwargs, context):
      module, path = context.module, '/'.join(context.module.path)
      is_output = isinstance(module, Linear) and context.method_name == 'finish'
      if is_output and path in by_path:
        for name, measure in measures.items():
          add(module, name, measure(by_path[path], args[0], weights_BT))
      return call(*args, **kwargs)

    return intercept

  return make


def add(module, name, value):
  """Adds `value` to what `module` has sown as `name`."""
  module.sow(OBSERVED, name, value, jnp.add, lambda: jnp.zeros(()))


def second_moment(linear, x, weights_BT):
  """Returns the sum of `x^T x` over tokens of weight 1, float32 [fan_in, fan_in]."""
  x_BTF = as_rows(linear, x)
  weighted_BTF = x_BTF * weights_BT[..., None]
  return jnp.einsum('BTF,BTG->FG', weighted_BTF, x_BTF, precision='highest')


def squares(linear, x, weights_BT):
  """Returns the sum of squares over tokens, in the shape of the features: [H, K]."""
  sums_F = jnp.einsum('BTF,BT->F', jnp.square(as_rows(linear, x)), weights_BT,
                      precision='highest')  # fmt: skip
  return sums_F.reshape(linear.sizes(linear.contracted))


def mean_size(linear, x, weights_BT):
  """Returns the sum of |x| over tokens, float32 [fan_in]."""
  return (jnp.abs(as_rows(linear, x)) * weights_BT[..., None]).sum((0, 1))


def peak(linear, x, weights_BT):
  """Returns the largest |x| of a batch, float32 [fan_in]."""
  return (jnp.abs(as_rows(linear, x)) * (weights_BT[..., None] > 0)).max((0, 1))


def head_moments(linear, x_BHTK, weights_BT):
  """Returns the sum of `x^T x` over tokens for each head that is read, [H, K, K]."""
  del linear
  x_BHTK = x_BHTK.astype(jnp.float32)
  weighted_BHTK = x_BHTK * weights_BT[:, None, :, None]
  return jnp.einsum('BHTK,BHTJ->HKJ', weighted_BHTK, x_BHTK, precision='highest')


def as_rows(linear, x):
  """Returns the input of a LinearMap as float32 [B, T, fan_in]."""
  letters = linear.letters[0]
  order = [letters.index(letter) for letter in 'BT' + linear.contracted]
  x_BTF = x.astype(jnp.float32).transpose(order)
  return x_BTF.reshape(*x_BTF.shape[:2], linear.fan_in)
