"""Weights in 4 bits by groups, by GPTQ, AWQ or just rounded; or in NF4."""

import jax.numpy as jnp
import numpy as np

from gpt_jax.compress import awq, calibration, gptq, storing
from gpt_jax.compress.method import Compressed
from gpt_jax.core import pytree
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import between, one_of, section
from gpt_jax.model import linear_maps
from gpt_jax.quantization import int4
from gpt_jax.quantization.kernel_format import num_groups


@section
class Options:
  group: int = between(2, 2**16, default=32)  # weights that share a scale
  calibration: str = one_of('none', 'gptq', 'awq', default='gptq')
  batches: int = between(1, 10_000, default=16)  # of training, to calibrate with
  embedding: bool = True  # and output layer, in int8


@section
class NF4Options:
  embedding: bool = True  # and output layer, in int8


@entry(options=Options)
def compress(given):
  """Returns the Compressed model in 4 bits by groups."""
  storing.require_full(given, 'int4')
  options, cfg = given.options, given.config.model
  params, encoded = given.params, {}
  if options.calibration == 'gptq':
    kinds = (calibration.MOMENT,)
    sums = calibration.observe(given, 'int4', options.batches, kinds)
    encoded = _by_gptq(given, options.group, sums[calibration.MOMENT])
  elif options.calibration == 'awq':
    kinds = (calibration.MOMENT, calibration.MEAN)
    sums = calibration.observe(given, 'int4', options.batches, kinds)
    params = awq.scaled(given, options.group, sums)
  params = storing.store_kernels(params, cfg, 'int4', options.group, encoded)
  if options.embedding:
    params = storing.store_embedding(params)
  group = options.group
  fields = storing.fields('int4', options.embedding, quantization_group=group)
  return Compressed(params, fields)


@entry(options=NF4Options)
def compress_nf4(given):
  """Returns the Compressed model with kernels in NF4."""
  storing.require_full(given, 'nf4')
  params = storing.store_kernels(given.params, given.config.model, 'nf4')
  if given.options.embedding:
    params = storing.store_embedding(params)
  return Compressed(params, storing.fields('nf4', given.options.embedding))


def _by_gptq(given, group, moments):
  """Returns {kernel: its leaves} of all kernels."""
  leaves, found = dict(pytree.named_leaves(given.params)), {}
  linears = linear_maps.find(given.config.model)
  for linear in given.progress(linears, 'rounding', len(linears)):
    kernel = np.asarray(leaves[linear.kernel], np.float32)
    matrices = kernel.reshape(linear.num_matrices, linear.fan_in, linear.fan_out)
    moment = moments[calibration.input_name(linear)]
    moment = moment.reshape(-1, linear.fan_in, linear.fan_in)
    groups = num_groups(linear.fan_in, group)
    read = np.diagonal(moment, axis1=1, axis2=2)[..., None]  # x^2 of each input
    scales = int4.best_scale(matrices, storing.matrix_layout(3), groups, read)
    codes = [
      gptq.quantize(*each) for each in zip(matrices, moment, scales, strict=True)
    ]
    shape = (*linear.stack, groups, *linear.sizes(linear.kept))
    found[linear.kernel] = {
      linear.kernel: jnp.asarray(np.reshape(codes, kernel.shape)).astype(jnp.int4),
      f'{linear.path}/{int4.SCALE}': scales.reshape(shape),
    }
  return found
