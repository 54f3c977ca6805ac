"""Which device works on which blocks at which step of ring attention.

N devices hold equal shards of a row, two chunks each. At step r device i has the keys
of device i - r. With adjacent chunks, a causal mask would give the last device N times
the work of the first, and all would wait for it. So device i works on an early and a
late chunk there (i and 2N - 1 - i, "zigzag"), which costs the same at every step:

  device  chunks   step 0            keys of device j < i      keys of j > i
  i       i, late  both diagonals,   both chunks see the       the late chunk sees
                   late sees early   early chunk of j          both chunks of j

Under a local window adjacent chunks are better: keys travel only as far as it reaches.
`make_schedule` counts pairs of blocks for both and takes the cheaper.
"""

import dataclasses
import itertools

import numpy as np

from gpt_jax.attention import online_softmax


@dataclasses.dataclass(frozen=True)
class Shards:
  """Which tokens of a row each device holds: two chunks."""

  num_devices: int
  chunk: int  # tokens
  zigzag: bool

  def index(self, device, t):
    """Returns the index in the row of token `t` of a device's shard."""
    half = t // self.chunk  # 0 or 1
    if self.zigzag:
      chunk = device + half * (2 * self.num_devices - 1 - 2 * device)
    else:
      chunk = 2 * device + half
    return t + (chunk - half) * self.chunk

  def owner(self, chunk):
    """Returns the device that works on chunk 0..2N - 1 under zigzag."""
    return min(chunk, 2 * self.num_devices - 1 - chunk)


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
  """Consecutive steps with equally many pairs, so that one loop can run them."""

  first: int
  num_steps: int
  # Lists of pairs, int32: first query and first key of the blocks in the shards.
  patterns_PN2: np.ndarray
  pattern_RD: np.ndarray  # which list each device follows at each step of this stage


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
  """The steps of one attention; they end where no device needs further keys."""

  queries: Shards
  keys: Shards
  sizes: tuple[int, int]  # tokens in a block of queries and of keys
  visits_RDN2: tuple[np.ndarray, ...]  # for each step the pairs of each device
  visible_RD: np.ndarray  # how many of them are visible; the others are padding

  @property
  def num_steps(self):
    return len(self.visits_RDN2)

  @property
  def cost(self):
    """The pairs on the critical path, and the steps."""
    return self.visible_RD.max(1).sum(), self.num_steps

  def stages(self):
    """Returns the Stages in order; the first and the last step are their own stages."""
    # Nothing is received before the first and nothing sent after the last.
    counts = [visits.shape[1] for visits in self.visits_RDN2]
    changes = {r for r in range(1, len(counts)) if counts[r] != counts[r - 1]}
    borders = sorted(changes | {0, 1, len(counts) - 1, len(counts)})
    return [self._stage(*pair) for pair in itertools.pairwise(borders)]

  def _stage(self, first, end):
    visits_RDN2 = np.stack(self.visits_RDN2[first:end])
    R, D, N, _ = visits_RDN2.shape
    if N == 0:  # keys are only passed on
      return Stage(first, R, visits_RDN2[0, :1], np.zeros((R, D), np.int32))
    patterns, index = np.unique(
      visits_RDN2.reshape(R * D, N * 2), axis=0, return_inverse=True
    )
    return Stage(
      first, R, patterns.reshape(-1, N, 2), index.reshape(R, D).astype(np.int32)
    )


def make_schedule(mask, num_devices, num_queries, num_keys, sizes):
  """Returns the Schedule of a row in 2N chunks, which the `sizes` of blocks divide."""
  candidates = [_schedule(mask, num_devices, num_queries, num_keys, sizes, False)]
  if num_queries == num_keys:
    candidates.append(_schedule(mask, num_devices, num_queries, num_keys, sizes, True))
  return min(candidates, key=lambda schedule: schedule.cost)


def _schedule(mask, num_devices, num_queries, num_keys, sizes, zigzag):
  D = num_devices
  queries = Shards(D, num_queries // (2 * D), zigzag)
  keys = Shards(D, num_keys // (2 * D), zigzag)
  local_t = np.arange(0, num_queries // D, sizes[0])
  local_s = np.arange(0, num_keys // D, sizes[1])
  devices_D1 = np.arange(D)[:, None]
  visits, visible_RD = [], []
  for step in range(D):
    first_t = queries.index(devices_D1, local_t)[:, :, None]
    first_s = keys.index((devices_D1 - step) % D, local_s)[:, None, :]
    visible_DTS = online_softmax.is_visible(
      mask, first_t, first_t + sizes[0] - 1, first_s, first_s + sizes[1] - 1
    )
    visible_DP = visible_DTS.reshape(D, -1)
    counts_D = visible_DP.sum(1)
    # Visible pairs first, in order. A device with fewer of them than another pads its
    # list with hidden ones, which add nothing: it would have to wait for the keys of
    # the next step anyway.
    order_DP = np.argsort(~visible_DP, axis=1, kind='stable')[:, : counts_D.max()]
    t, s = np.divmod(order_DP, len(local_s))
    visits.append(np.stack([local_t[t], local_s[s]], -1).astype(np.int32))
    visible_RD.append(counts_D)
  num_steps = 1 + max((r for r in range(D) if visible_RD[r].any()), default=0)
  return Schedule(
    queries, keys, sizes, tuple(visits[:num_steps]), np.array(visible_RD[:num_steps])
  )
