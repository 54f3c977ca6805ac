"""Who works on which tokens when: the schedule of ring attention, made while tracing.

N devices hold equal shares of a row, two chunks each. At step r device i works with the
keys of device i - r. Under a causal mask adjacent chunks would leave the last device N
times the work of the first, and all would wait for it: there each device takes an early
and a late chunk (i and 2N - 1 - i, "zigzag"), which costs the same at every step:

  device  chunks   step 0            step r, keys from before i   from behind i
  i       i, late  both diagonals,   both chunks see              the late chunk sees
                   late sees early   their early one              both of theirs

A local window wants chunks that stay together: then keys travel only as far as it
reaches. `make` counts pairs of blocks for both and takes what is done first.
"""

import dataclasses
import itertools

import numpy as np

from gpt_jax.attention import online_softmax


@dataclasses.dataclass(frozen=True)
class Layout:
  """Which tokens of a row each device holds; `chunk` tokens in half a share."""

  num_devices: int
  chunk: int
  zigzag: bool

  def index(self, device, t):
    """Returns where in the row token `t` of a device's share stands, traced or not."""
    half = t // self.chunk  # 0 or 1
    if self.zigzag:
      place = device + half * (2 * self.num_devices - 1 - 2 * device)
    else:
      place = 2 * device + half
    return t + (place - half) * self.chunk

  def home(self, chunk):
    """Returns the device that works on the `chunk`-th of 2N under zigzag."""
    return min(chunk, 2 * self.num_devices - 1 - chunk)


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
  """Steps in a row with equally many pairs, so that one loop can run them."""

  first: int
  num_steps: int
  patterns_PN2: np.ndarray
  """Lists of pairs, int32: first query and first key of the blocks in the shares."""
  pattern_RD: np.ndarray
  """Which list each device follows at each step of this stage."""


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
  """The steps of one attention; keys stop where no device needs more of them."""

  queries: Layout
  keys: Layout
  sizes: tuple[int, int]
  """Tokens in a block of queries and of keys."""
  visits_RDN2: tuple[np.ndarray, ...]
  """For each step the pairs of each device, int32 [D, N, 2]."""
  seen_RD: np.ndarray
  """How many of them have something to see; the others fill up shorter lists."""

  @property
  def num_steps(self):
    return len(self.visits_RDN2)

  @property
  def cost(self):
    """Returns the pairs on the critical path, and the steps."""
    return self.seen_RD.max(1).sum(), self.num_steps

  def stages(self):
    """Returns the Stages in order; the first and the last step stand alone.

    Before the first nothing has arrived, and after the last nothing leaves.
    """
    counts = [visits.shape[1] for visits in self.visits_RDN2]
    changes = {r for r in range(1, len(counts)) if counts[r] != counts[r - 1]}
    borders = sorted(changes | {0, 1, len(counts) - 1, len(counts)})
    return [self._stage(*pair) for pair in itertools.pairwise(borders)]

  def _stage(self, first, end):
    visits_RDN2 = np.stack(self.visits_RDN2[first:end])
    R, D, N, _ = visits_RDN2.shape
    if N == 0:  # keys that are only passed on
      return Stage(first, R, visits_RDN2[0, :1], np.zeros((R, D), np.int32))
    patterns, index = np.unique(
      visits_RDN2.reshape(R * D, N * 2), axis=0, return_inverse=True
    )
    return Stage(
      first, R, patterns.reshape(-1, N, 2), index.reshape(R, D).astype(np.int32)
    )


def make(mask, num_devices, num_queries, num_keys, sizes):
  """Returns the Schedule for a row of so many tokens, which divide into 2 N chunks.

  `sizes` are of blocks, and divide the chunks. What `mask` says of indices alone leaves
  pairs out.
  """
  candidates = [_schedule(mask, num_devices, num_queries, num_keys, sizes, False)]
  if num_queries == num_keys:
    candidates.append(_schedule(mask, num_devices, num_queries, num_keys, sizes, True))
  return min(candidates, key=lambda schedule: schedule.cost)


def _schedule(mask, num_devices, num_queries, num_keys, sizes, zigzag):
  D = num_devices
  queries = Layout(D, num_queries // (2 * D), zigzag)
  keys = Layout(D, num_keys // (2 * D), zigzag)
  local_t = np.arange(0, num_queries // D, sizes[0])
  local_s = np.arange(0, num_keys // D, sizes[1])
  devices_D1 = np.arange(D)[:, None]
  visits, seen_RD = [], []
  for step in range(D):
    first_t = queries.index(devices_D1, local_t)[:, :, None]
    first_s = keys.index((devices_D1 - step) % D, local_s)[:, None, :]
    seen_DTS = online_softmax.is_seen(
      mask, first_t, first_t + sizes[0] - 1, first_s, first_s + sizes[1] - 1
    )
    seen_DP = seen_DTS.reshape(D, -1)
    counts_D = seen_DP.sum(1)
    # Those that are seen come first, in order. Where one device has more of them than
    # another, this one fills its list with hidden ones, which add nothing: it would
    # have to wait for the keys of the next step anyway.
    order_DP = np.argsort(~seen_DP, axis=1, kind='stable')[:, : counts_D.max()]
    t, s = np.divmod(order_DP, len(local_s))
    visits.append(np.stack([local_t[t], local_s[s]], -1).astype(np.int32))
    seen_RD.append(counts_D)
  num_steps = 1 + max((r for r in range(D) if seen_RD[r].any()), default=0)
  return Schedule(
    queries, keys, sizes, tuple(visits[:num_steps]), np.array(seen_RD[:num_steps])
  )
