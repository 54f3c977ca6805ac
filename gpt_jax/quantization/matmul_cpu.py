"""What XLA:CPU needs to multiply with codes: conversion in registers, blocks in cache.

A dot of a converted kernel writes it down as float32 first, which takes 20 times as
long as the dot. One vector is multiplied by sums of as many rows as are fused; more
vectors block by block, so that what is written down stays in the cache
(docs/compress.md has figures).
"""

import jax
import jax.numpy as jnp

from gpt_jax.core import matmul_cpu
from gpt_jax.quantization import int8, rows

ROWS = (16, 12, 8, 6, 4, 2, 1)
"""How many rows are summed at a time; the first that divides."""
LANES = (16, 32, 48, 64, 96, 128)
"""Along a row: neighbours that are summed last. The first that leaves few enough."""
MOST_TERMS = 64
BLOCK = 2**19
"""Numbers of a kernel that are converted at a time: 2 MiB."""
EXACT = 1024
"""So many products of two numbers of 8 bits have an exact sum in float32."""


def takes(leaves):
  """Returns whether `product` multiplies with a kernel that is stored so."""
  return rows.NAME in leaves or leaves['kernel'].dtype == jnp.int8


def product(x_RC, leaves, dtypes=()):
  """Returns x W, float32 [R, F], of codes and scales; scales may be missing.

  `dtypes`: to which a kernel in full is rounded, one after the other, where several
  vectors are multiplied. For one vector sums come before scales: nothing is rounded.
  """
  narrow = tuple(d for d in dtypes if d != jnp.float32)
  if rows.NAME in leaves:
    codes_FC, scale_FG = leaves[rows.NAME], leaves[rows.SCALE]
    if len(x_RC) == 1:
      return _along_rows(x_RC, codes_FC, scale_FG)
    return _blocks_of_rows(x_RC, codes_FC, scale_FG, narrow)
  codes = leaves['kernel']
  codes_CF = matmul_cpu.read_flat(codes, (x_RC.shape[1], -1))
  F = codes_CF.shape[1]
  scale = leaves.get(int8.SCALE)
  if scale is None:
    return _product(x_RC, codes_CF)
  scale_GF = scale.astype(jnp.float32).reshape(-1, F)
  if len(x_RC) > 1 and (narrow or len(scale_GF) > 1):
    return _blocks(x_RC, codes_CF, scale_GF, narrow)
  if len(scale_GF) > 1:
    return _down_groups(x_RC, codes_CF, scale_GF)
  return _product(x_RC, codes_CF) * scale_GF


def whole_product(whole_RC, codes_CF):
  """Returns the sums int32 [R, F] of whole numbers of 8 bits, `whole_RC` as floats."""
  C = whole_RC.shape[1]
  codes_CF = matmul_cpu.read_flat(codes_CF, codes_CF.shape)
  parts = [
    _product(whole_RC[:, i : i + EXACT], codes_CF[i : i + EXACT]).astype(jnp.int32)
    for i in range(0, C, EXACT)
  ]
  return sum(parts[1:], parts[0])


def _product(x_RC, codes_CF):
  return (_down_rows if len(x_RC) == 1 else _blocks)(x_RC, codes_CF)


def _terms(size):
  return next(count for count in ROWS if size % count == 0)


def _down_rows(x_1C, codes_CF):
  C, F = codes_CF.shape
  count = _terms(C)
  x_NC, codes_NCF = x_1C.reshape(count, -1), codes_CF.reshape(count, -1, F)
  # Each part is converted by itself: XLA converts what more than one reads in a pass.
  sum_CF = sum(
    x_NC[i][:, None] * codes_NCF[i].astype(jnp.float32) for i in range(count)
  )
  return matmul_cpu.summed_rows(sum_CF)[None]


def _down_groups(x_1C, codes_CF, scale_GF):
  (G, F), C = scale_GF.shape, codes_CF.shape[0]
  count = _terms(C // G)
  x_GNC = x_1C.reshape(G, count, -1)
  codes_GNCF = codes_CF.reshape(G, count, -1, F)
  sum_GCF = sum(
    x_GNC[:, i, :, None] * codes_GNCF[:, i].astype(jnp.float32) for i in range(count)
  )
  sum_CF = (sum_GCF * scale_GF[:, None]).reshape(-1, F)
  return matmul_cpu.summed_rows(sum_CF)[None]


def _along_rows(x_1C, codes_FC, scale_FG):
  (F, C), G = codes_FC.shape, scale_FG.shape[1]
  lanes = next((n for n in LANES if C // G % n == 0 and C // n <= MOST_TERMS), None)
  if lanes is None:
    return _blocks_of_rows(x_1C, codes_FC, scale_FG, ())
  x_GNC = x_1C.reshape(G, -1, lanes)
  codes_FGNC = codes_FC.reshape(F, G, -1, lanes)
  sum_FC = sum(
    scale_FG[:, g, None]
    * sum(
      x_GNC[g, i] * codes_FGNC[:, g, i].astype(jnp.float32)
      for i in range(x_GNC.shape[1])
    )
    for g in range(G)
  )
  return (sum_FC @ jnp.ones((lanes, 1), jnp.float32)).reshape(1, F)


def _blocks(x_RC, codes_CF, scale_GF=None, dtypes=()):
  C, F = codes_CF.shape
  groups = 1 if scale_GF is None else len(scale_GF)
  count = _num_blocks(C, F, groups)
  size = C // count
  x_NRC = x_RC.reshape(-1, count, size).transpose(1, 0, 2)
  codes_NCF = codes_CF.reshape(count, size, F)
  if scale_GF is not None:  # of one group, it is that of all blocks
    scale_NG1F = scale_GF.reshape(count if groups > 1 else 1, -1, 1, F)

  def add(i, sum_RF):
    block_CF = codes_NCF[i].astype(jnp.float32)
    if scale_GF is not None:
      scale_G1F = scale_NG1F[i if groups > 1 else 0]
      grouped = block_CF.reshape(len(scale_G1F), -1, F)
      block_CF = _rounded((grouped * scale_G1F).reshape(size, F), dtypes)
    return sum_RF + x_NRC[i] @ block_CF

  zeros_RF = jnp.zeros((x_RC.shape[0], F), jnp.float32)
  return jax.lax.fori_loop(0, count, add, zeros_RF)


def _rounded(array, dtypes):
  for dtype in dtypes:
    array = array.astype(dtype)
  return array.astype(jnp.float32)


def _num_blocks(C, F, groups):
  """Returns how many blocks of whole groups there are, each of BLOCK at most."""
  units = groups if groups > 1 else C
  fits = [n for n in range(1, units + 1) if units % n == 0 and C // n * F <= BLOCK]
  return fits[0] if fits else units


def _blocks_of_rows(x_RC, codes_FC, scale_FG, dtypes):
  F, C = codes_FC.shape
  count = next((n for n in range(1, F + 1) if F % n == 0 and F // n * C <= BLOCK), F)

  def multiply(block):
    block_FC = _rounded(rows.dequantize(*block), dtypes)
    return jnp.einsum('RC,FC->RF', x_RC, block_FC)

  y_NRF = jax.lax.map(
    multiply,
    (codes_FC.reshape(count, -1, C), scale_FG.reshape(count, -1, scale_FG.shape[1])),
  )
  return y_NRF.transpose(1, 0, 2).reshape(-1, F)
