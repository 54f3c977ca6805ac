"""Checksums of arrays, the same on every device, mesh and number of processes."""

import hashlib

import jax
import jax.numpy as jnp

_ODD = 2_654_435_761  # 2^32 / golden ratio: Knuth's multiplicative hashing


@jax.jit
def _sum(array):
  # Whole numbers modulo 2^32, whose sum does not depend on the order.
  bits = array.dtype.itemsize * 8
  words = jax.lax.bitcast_convert_type(array, f'uint{bits}').astype(jnp.uint32)
  index = jnp.arange(array.size, dtype=jnp.uint32).reshape(array.shape)
  return jnp.sum((words ^ (words >> 15)) * ((index * jnp.uint32(_ODD)) | 1))


def checksum(array):
  """Returns an int below 2^32 of an array's bits and their order."""
  return int(_sum(array))


def combine(checksums):
  """Returns twelve hex digits for `{name: checksum}`."""
  text = ','.join(f'{name}={value}' for name, value in sorted(checksums.items()))
  return hashlib.sha256(text.encode()).hexdigest()[:12]
