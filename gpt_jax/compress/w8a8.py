"""Weights and inputs in 8 bits: whole numbers are multiplied, sums are int32.

`w8a8` first moves part of the range of inputs into the kernels (SmoothQuant,
arXiv:2211.10438, eq. 4: s = max |x|^a / max |W|^(1 - a)). `llm_int8` multiplies numbers
of `threshold` and more in full (LLM.int8, arXiv:2208.07339, section 3).
"""

import jax.numpy as jnp

from gpt_jax.compress import calibration, folding, storing
from gpt_jax.compress.method import Compressed
from gpt_jax.core import pytree
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, between, section


@section
class SmoothOptions:
  smoothing: float = between(0.0, 1.0, default=0.5)  # 0: ranges stay as they are
  batches: int = between(1, 10_000, default=4)  # of training, to calibrate with
  embedding: bool = True  # and output layer, in int8, multiplied in full


@section
class OutlierOptions:
  threshold: float = above(0.0, default=6.0)
  embedding: bool = True


@entry(options=SmoothOptions)
def compress(given):
  """Returns the Compressed model with inputs in 8 bits, smoothed."""
  storing.require_full(given, 'w8a8')
  options, params = given.options, given.params
  if options.smoothing:
    kinds = (calibration.PEAK,)
    sums = calibration.observe(given, 'w8a8', options.batches, kinds)
    peaks = sums[calibration.PEAK]
    params = smoothed(given, peaks, options.smoothing, options.batches)
  return _stored(params, given, 0.0)


@entry(options=OutlierOptions)
def compress_outliers(given):
  """Returns the Compressed model with inputs in 8 bits but for outliers."""
  storing.require_full(given, 'llm_int8')
  return _stored(given.params, given, given.options.threshold)


def smoothed(given, peaks, exponent, num_batches):
  """Returns parameters of the same model whose inputs have less range.

  `peaks`: PEAK of `calibration.observe` over so many batches.
  """
  cfg, leaves = given.config.model, dict(pytree.named_leaves(given.params))
  scales = []
  for one in folding.find(cfg):
    peak = jnp.asarray(peaks[calibration.input_name(one.readers[0])]) / num_batches
    weight = jnp.stack([_row_maxima(leaves[x.kernel], x) for x in one.readers]).max(0)
    scale = jnp.maximum(peak, 1e-5) ** exponent
    scale = scale / jnp.maximum(weight, 1e-5) ** (1 - exponent)
    scales.append((one, jnp.maximum(scale, 1e-5)))
  return folding.fold(given.params, cfg, scales)


def _row_maxima(kernel, linear):
  """Returns max |W| of each input, float32 [stack, C]."""
  rows = kernel.reshape(*linear.stack, linear.fan_in, linear.fan_out)
  return jnp.abs(rows.astype(jnp.float32)).max(-1)


def _stored(params, given, threshold):
  params = storing.store_kernels(params, given.config.model, 'int8')
  if given.options.embedding:
    params = storing.store_embedding(params)
  embedding = given.options.embedding
  fields = storing.fields(
    'int8', embedding, quantized_activations=True, outlier_threshold=threshold
  )
  return Compressed(params, fields)
