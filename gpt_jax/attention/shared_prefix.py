"""A mask for texts that lie in one row and share their first tokens.

The tokens of a row are those of a tree of texts, each node before its children and each
subtree in one piece: a token sees its ancestors, which are the keys whose subtrees it
lies in. Texts without a common first token are trees of their own.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.attention.masks import Mask
from gpt_jax.core.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TreeMask(Mask):
  """Which tokens of a tree see each other; for the dense kernel, without a cache.

  Windows and ALiBi go by `positions_BT`: what a token is far away from in its row may
  be near in its text.
  """

  positions_BT: Array | None = None  # of each token in its text
  end_BT: Array | None = None  # row index after each token's subtree; 0: padding
  # Row index before which later keys are visible too (prefix LM).
  prefix_end_BT: Array | None = None

  def distance(self, num_queries, num_keys):
    """Returns query position minus key position, int32 [B, T, S]."""
    positions_BT: Any = self.positions_BT
    return positions_BT[:, :, None] - positions_BT[:, None, :]

  def query_positions(self, num_queries):
    """Returns the place of each token in its text, int32 [B, T]."""
    return self.positions_BT

  def allowed(self, num_queries, num_keys):
    """Returns which keys each query sees, bool [B, T, S]."""
    end_BT: Any = self.end_BT
    query_T1, key_S = jnp.arange(num_queries)[:, None], jnp.arange(num_keys)
    allowed_BTS = (key_S <= query_T1) & (query_T1 < end_BT[:, None, :])
    if self.prefix_end_BT is not None:
      allowed_BTS |= (key_S >= query_T1) & (key_S < self.prefix_end_BT[:, :, None])
    if self.window is not None:
      distance_BTS = self.distance(num_queries, num_keys)
      allowed_BTS &= jnp.abs(distance_BTS) < self.window
    return allowed_BTS

  def blind(self, num_queries, num_keys):
    """Returns which queries are padding, bool [B, T]."""
    return self.end_BT == 0
