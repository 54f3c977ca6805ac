"""The shape letters, once, and the array types that signatures use.

An array's name ends in the letters of its dimensions (`q_BHTK`), the same letters
that einsum strings use. Scalars and pytrees carry none.

  B  batch                 H  query heads           F  feed-forward width
  T  query tokens          G  key-value heads       V  vocabulary
  S  key tokens            K  head dimension        L  layers
  D  model width           N  tokens of a sample (T + 1: inputs and shifted targets)
  E  experts               R  rank of an adapter
"""

from typing import Any

import jax
import numpy as np

Array = jax.Array | np.ndarray
PyTree = Any
Batch = dict[str, Array]
"""What the loader yields: `tokens` [B, N] int32; with documents kept apart also
`segments` [B, N] (0 is padding) and `positions` [B, N] (from 0 in each segment)."""
