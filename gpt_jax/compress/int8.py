"""Weights in 8 bits, multiplied in full precision.

A scale for each output of a kernel, or one for all of it (`scales=tensor`), which an
outlier makes coarse; rows of the embedding have their own (docs/compress.md).
"""

import functools

import jax
import jax.numpy as jnp

from gpt_jax.compress import storing
from gpt_jax.compress.method import Compressed
from gpt_jax.core import pytree
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import one_of, section
from gpt_jax.model import linear_maps
from gpt_jax.quantization import int8
from gpt_jax.quantization.kernel_format import exact_steps


@section
class Options:
  scales: str = one_of('channel', 'tensor', default='channel')
  embedding: bool = True  # the output layer, too


@entry(options=Options)
def compress(given):
  """Returns the Compressed model."""
  storing.require_full(given, 'int8')
  options, cfg = given.options, given.config.model
  encoded = {}
  if options.scales == 'tensor':
    encoded = one_scale_each(given.params, cfg)
  params = storing.store_kernels(given.params, cfg, 'int8', encoded=encoded)
  if options.embedding:
    params = storing.store_embedding(params)
  return Compressed(params, storing.fields('int8', options.embedding))


def one_scale_each(params, cfg):
  """Returns {kernel: its leaves}, each matrix with one scale."""
  leaves, found = dict(pytree.named_leaves(params)), {}
  for linear in linear_maps.find(cfg):
    codes, parts = _one_scale(leaves[linear.kernel], storing.layout_of(linear))
    found[linear.kernel] = {
      linear.kernel: codes,
      f'{linear.path}/{int8.SCALE}': parts[int8.SCALE],
    }
  return found


@functools.partial(jax.jit, static_argnums=1)
def _one_scale(kernel, layout):
  kernel = kernel.astype(jnp.float32)
  outputs = jnp.abs(kernel).max(layout.contracted)
  axes = tuple(range(layout.num_stacked, outputs.ndim))
  largest = jnp.broadcast_to(outputs.max(axes, keepdims=True), outputs.shape)
  return int8.encode(kernel, exact_steps(largest, int8.LARGEST), layout)
