"""Embeddings in 8 bits, with a scale for each group of neighbours in a row.

Some columns of an embedding are many times as large as others: with one scale a row,
Gemma 3 270M has three times the error (1.9 % of the root mean square instead of 0.6 %).
"""

import jax.numpy as jnp

from gpt_jax.quantization.int8 import LARGEST
from gpt_jax.quantization.kernel_format import exact_steps, num_groups

NAME, SCALE = 'embedding', 'embedding_scale'
GROUP = 64


def quantize(table_VD):
  """Returns (codes int8 [V, D], scales float32 [V, groups])."""
  V, D = table_VD.shape
  table_VGC = table_VD.astype(jnp.float32).reshape(V, num_groups(D, GROUP), -1)
  scale_VG = exact_steps(jnp.abs(table_VGC).max(-1), LARGEST)
  codes_VGC = jnp.round(table_VGC / jnp.where(scale_VG > 0, scale_VG, 1.0)[..., None])
  return codes_VGC.astype(jnp.int8).reshape(V, D), scale_VG


def dequantize(codes, scale):
  """Returns the rows, float32 [..., D], of codes [..., D] and scales [..., groups]."""
  grouped = codes.reshape(*scale.shape, -1).astype(jnp.float32)
  return (grouped * scale[..., None]).reshape(codes.shape)
