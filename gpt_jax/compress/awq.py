"""AWQ: inputs that are large get finer steps, arXiv:2306.00978, section 3.2.

Kernels are scaled by s = (mean |x|)^a before they are rounded, and inputs by 1/s; `a`
is searched on a grid, for the least squared error of outputs on calibration data
(eq. 4).
"""

import jax
import jax.numpy as jnp

from gpt_jax.compress import calibration, folding, storing
from gpt_jax.core import pytree
from gpt_jax.quantization import int4
from gpt_jax.quantization.kernel_format import num_groups

EXPONENTS = tuple(i / 10 for i in range(10))


def scaled(given, group, sums):
  """Returns parameters with inputs scaled as AWQ has them.

  `sums`: MEAN and MOMENT of `calibration.observe`.
  """
  cfg, leaves = given.config.model, dict(pytree.named_leaves(given.params))
  scales = []
  foldings = folding.find(cfg)
  for one in given.progress(foldings, 'searching scales', len(foldings)):
    name = calibration.input_name(one.readers[0])
    mean, moment = (sums[kind][name] for kind in (calibration.MEAN, calibration.MOMENT))
    scales.append((one, _best(one, leaves, mean, moment, group)))
  return folding.fold(given.params, cfg, scales)


def _best(one, leaves, mean, moment, group):
  """Returns the scales [stack, C] with the least error of outputs, layer by layer."""
  errors, tried = [], []
  for exponent in EXPONENTS:
    scale = jnp.maximum(jnp.asarray(mean), 1e-8) ** exponent
    # Around 1 (the authors' code does so): no norm is blown up.
    largest, least = scale.max(-1, keepdims=True), scale.min(-1, keepdims=True)
    scale = scale / jnp.sqrt(largest * least)
    errors.append(
      sum(
        _error(leaves[linear.kernel], scale, moment, linear, group)
        for linear in one.readers
      )
    )
    tried.append(scale)
  best = jnp.argmin(jnp.stack(errors), 0)  # [stack]
  stacked = jnp.stack(tried)
  return jnp.take_along_axis(stacked, best[None, ..., None], 0)[0]


def _error(kernel, scale, moment, linear, group):
  groups = num_groups(linear.fan_in, group)
  matrices = kernel.reshape(*linear.stack, linear.fan_in, linear.fan_out)
  return _matrix_error(matrices, scale, moment, groups)


@jax.jit
def _weighted(difference, moment):
  return (difference * (moment @ difference)).sum((-1, -2))


def _matrix_error(matrices, scale, moment, groups):
  layout = storing.matrix_layout(matrices.ndim)
  wide = scale[..., None]
  codes, parts = int4.quantize(matrices.astype(jnp.float32) * wide, layout, groups)
  near = int4.dequantize(codes, parts, layout) / wide
  return _weighted(near - matrices, jnp.asarray(moment))
