"""Attention masks as data: kernels read the parts, oracles the dense matrix.

A query sees a key when all of these hold: same segment, and not padding; key not later
than the query (causal), or inside the row's visible prefix; key less than `window`
away, to either side. Positions are row indices: query t of a decoding step has the
index `query_start_B + t` among the S keys of the cache, which may lie in another order
(`positions_BS`).

Before these keys `num_virtual` others may stand, which are no tokens of the row
(prefix tuning): every query but padding sees them, whatever its segment, and they count
nowhere else, neither in segments nor in indices.

A query that sees no key, such as padding, gives zeros and passes no gradient on, in all
kernels: their values and gradients agree at every place (`Mask.zero_blind`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mask:
  """A structured attention mask; a part that is None has no effect."""

  causal: bool = dataclasses.field(default=True, metadata=dict(static=True))
  window: int | None = dataclasses.field(default=None, metadata=dict(static=True))
  # Keys before this index are visible to every query (prefix LM).
  prefix_B: Array | None = None
  segments_BT: Array | None = None  # of each query; 0 is padding
  segments_BS: Array | None = None  # of each key; None: the queries' own
  query_start_B: Array | None = None  # index of the first query among the keys
  positions_BS: Array | None = None  # of each key; None: they count from 0
  slopes_H: Array | None = None  # ALiBi: scores lose slope * distance (2108.12409)
  # Keys before all others that every query sees.
  num_virtual: int = dataclasses.field(default=0, metadata=dict(static=True))
  # Whether these lie right before the row, so that a window hides them and ALiBi counts
  # how far away they are; else they are near everywhere.
  virtual_precede: bool = dataclasses.field(default=False, metadata=dict(static=True))

  @property
  def key_segments_BS(self) -> Any:
    """The segment of each key, or None."""
    return self.segments_BT if self.segments_BS is None else self.segments_BS

  def with_window(self, window):
    """Returns this mask limited to keys less than `window` away; None: itself."""
    if window is None:
      return self
    return dataclasses.replace(self, window=window)

  def with_positions(self, positions_BS):
    """Returns this mask for keys at these positions; None: itself."""
    if positions_BS is None:
      return self
    return dataclasses.replace(self, positions_BS=positions_BS)

  def with_slopes(self, slopes_H):
    """Returns this mask with ALiBi's linear penalty."""
    return dataclasses.replace(self, slopes_H=slopes_H)

  def with_virtual(self, num_virtual, precede=False):
    """Returns this mask with so many virtual keys before those that it is about."""
    return dataclasses.replace(self, num_virtual=num_virtual, virtual_precede=precede)

  def pad(self, queries, keys):
    """Returns this mask for so many more queries and keys of no segment."""
    parts = {}
    if self.positions_BS is not None:
      # As far away as any: what hides them is that the kernel knows they are padding.
      parts['positions_BS'] = jnp.pad(self.positions_BS, ((0, 0), (0, keys)))
    if self.segments_BT is not None:
      parts['segments_BT'] = jnp.pad(self.segments_BT, ((0, 0), (0, queries)))
      parts['segments_BS'] = jnp.pad(self.key_segments_BS, ((0, 0), (0, keys)))
    return dataclasses.replace(self, **parts)

  def tile(self, query, key, num_queries, num_keys):
    """Returns the mask of queries from `query` on and keys from `key` on."""
    # The tile's first query has the index `query - key`, which may be negative, among
    # the tile's own keys.
    start_B = jnp.zeros(1, jnp.int32)
    if self.query_start_B is not None:
      start_B = self.query_start_B
    slice_in_dim = jax.lax.dynamic_slice_in_dim
    if self.positions_BS is not None:
      parts = {'query_start_B': start_B + query}
      parts['positions_BS'] = slice_in_dim(self.positions_BS, key, num_keys, 1)
    else:
      parts = {'query_start_B': start_B + query - key}
      if self.prefix_B is not None:
        parts['prefix_B'] = self.prefix_B - key
    if self.segments_BT is not None:
      parts['segments_BT'] = slice_in_dim(self.segments_BT, query, num_queries, 1)
      parts['segments_BS'] = slice_in_dim(self.key_segments_BS, key, num_keys, 1)
    return dataclasses.replace(self, **parts)

  def distance(self, num_queries, num_keys):
    """Returns query index minus key index, int32 [B or 1, T, S]."""
    query_BT = self.query_positions(num_queries)
    return query_BT[:, :, None] - self._key_positions_BS(num_keys)[:, None, :]

  def query_positions(self, num_queries) -> Any:
    """Returns the index of each query, int32 [B or 1, T]."""
    query_T = jnp.arange(num_queries)
    if self.query_start_B is None:
      return query_T[None]
    return self.query_start_B[:, None] + query_T[None]

  def _key_positions_BS(self, num_keys):
    if self.positions_BS is not None:
      return self.positions_BS
    return jnp.arange(num_keys)[None]

  def allowed(self, num_queries, num_keys):
    """Returns which keys each query sees, bool [B or 1, T, S], but for virtual ones."""
    distance_BTS = self.distance(num_queries, num_keys)
    if self.causal:
      allowed_BTS = distance_BTS >= 0
    else:
      allowed_BTS = jnp.ones_like(distance_BTS, bool)
    if self.prefix_B is not None:
      key_BS = self._key_positions_BS(num_keys)
      allowed_BTS |= (key_BS < self.prefix_B[:, None])[:, None, :]
    if self.window is not None:
      allowed_BTS &= jnp.abs(distance_BTS) < self.window
    if self.segments_BT is not None:
      keys_BS = self.key_segments_BS
      same_BTS = self.segments_BT[:, :, None] == keys_BS[:, None, :]
      allowed_BTS &= same_BTS & (keys_BS != 0)[:, None, :]
    return allowed_BTS

  def blind(self, num_queries, num_keys):
    """Returns which queries see no key, bool [B or 1, T]; None: all see one.

    `num_keys`: virtual ones included.
    """
    is_among_keys = self.segments_BS is None and (
      num_queries <= num_keys or self.query_start_B is not None
    )
    if is_among_keys or self.num_virtual:
      # Then a query sees itself, or virtual keys, unless it is padding.
      return None if self.segments_BT is None else self.segments_BT == 0
    return ~self.allowed(num_queries, num_keys).any(-1)

  def zero_blind(self, out_BHTK, num_keys):
    """Returns attention's output with zeros for queries that see none of the keys."""
    blind_BT = self.blind(out_BHTK.shape[2], num_keys)
    if blind_BT is None:
      return out_BHTK
    return jnp.where(jnp.expand_dims(blind_BT, (1, 3)), 0, out_BHTK)

  def bias(self, num_queries, num_keys):
    """Returns ALiBi's additive term, float32 [B or 1, H, T, S], or None."""
    if self.slopes_H is None:
      return None
    distance_BTS = jnp.abs(self.distance(num_queries, num_keys)).astype(jnp.float32)
    return -self.slopes_H[None, :, None, None] * distance_BTS[:, None]

  def dense(self, num_queries, num_keys):
    """Returns what to add to scores, float32 [B or 1, H or 1, T, S].

    Virtual keys are among the S, the first of them.
    """
    dense_BHTS = self._dense(num_queries, num_keys - self.num_virtual)
    if not self.num_virtual:
      return dense_BHTS
    virtual_BHTP = self.virtual(num_queries)
    pair = (virtual_BHTP, dense_BHTS)
    shape_BHT = jnp.broadcast_shapes(*(part.shape[:3] for part in pair))
    return jnp.concatenate(
      [jnp.broadcast_to(part, (*shape_BHT, part.shape[3])) for part in pair], axis=3
    )

  def virtual(self, num_queries):
    """Returns what to add to scores of virtual keys, float32 [B or 1, H or 1, T, P]."""
    P, lowest = self.num_virtual, jnp.finfo(jnp.float32).min
    query_BT = self.query_positions(num_queries)
    distance_BTP = query_BT[:, :, None] + P - jnp.arange(P)
    hidden_BTP = jnp.zeros_like(distance_BTP, bool)
    blind_BT = self.blind(num_queries, num_queries + P)
    if blind_BT is not None:
      hidden_BTP |= blind_BT[:, :, None]
    if self.virtual_precede and self.window is not None:
      hidden_BTP |= distance_BTP >= self.window
    bias_BHTP: Any = 0.0
    if self.virtual_precede and self.slopes_H is not None:
      slopes_H11 = self.slopes_H[:, None, None]
      bias_BHTP = -slopes_H11 * distance_BTP[:, None].astype(jnp.float32)
    return jnp.where(hidden_BTP[:, None], lowest, bias_BHTP)

  def _dense(self, num_queries, num_keys):
    # Hidden keys get the lowest float32 and not -inf: the softmax of a row that sees
    # nothing is no NaN, though of no meaning either (`zero_blind`).
    lowest = jnp.finfo(jnp.float32).min
    allowed_BHTS = self.allowed(num_queries, num_keys)[:, None]
    bias_BHTS = self.bias(num_queries, num_keys)
    return jnp.where(allowed_BHTS, 0.0 if bias_BHTS is None else bias_BHTS, lowest)


def causal(segments_BT=None):
  """Returns the mask of left-to-right models; segments keep documents apart."""
  return Mask(causal=True, segments_BT=segments_BT)


def bidirectional(segments_BT=None):
  """Returns the mask of encoders: tokens see all of their segment."""
  return Mask(causal=False, segments_BT=segments_BT)


def prefix(prefix_B, segments_BT=None):
  """Returns a causal mask whose first `prefix_B` keys are visible to all queries."""
  return Mask(causal=True, prefix_B=prefix_B, segments_BT=segments_BT)
