"""The shape letters that end an array's name (`q_BHTK`) and make up einsum strings.

B  batch                 H  query heads           F  feed-forward width
T  query tokens          G  key-value heads       V  vocabulary
S  key tokens            K  head dimension        L  layers
D  model width           N  tokens of a sample (T + 1: inputs and shifted targets)
E  experts               R  rank of an adapter     C  classes, outputs of a task head
"""

from typing import Any

import jax
import numpy as np

Array = jax.Array | np.ndarray
PyTree = Any
# What the loader yields: `tokens` [B, N] int32; with documents kept apart also
# `segments` [B, N] (0 is padding) and `positions` [B, N] (from 0 in each segment); and
# [B, N] int32 for each field of the data (`data/fields.py`): `loss_mask`, `labels`.
Batch = dict[str, Array]
