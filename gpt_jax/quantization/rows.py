"""Embeddings in 8 bits, with one scale for each row."""

import jax.numpy as jnp

from gpt_jax.quantization.int8 import LARGEST
from gpt_jax.quantization.kernel_format import exact_steps

NAME, SCALE = 'embedding', 'embedding_scale'


def quantize(table_VD):
  """Returns (codes int8 [V, D], scales float32 [V])."""
  table_VD = table_VD.astype(jnp.float32)
  scale_V = exact_steps(jnp.abs(table_VD).max(-1), LARGEST)
  codes_VD = jnp.round(table_VD / jnp.where(scale_V > 0, scale_V, 1.0)[:, None])
  return codes_VD.astype(jnp.int8), scale_V


def dequantize(codes, scale):
  """Returns the rows, float32 [..., D], of codes [..., D] and scales [...]."""
  return codes.astype(jnp.float32) * scale[..., None]
