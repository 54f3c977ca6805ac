"""The order of an epoch, the same as Grain's shuffle and as fast for small sources.

Grain permutes n numbers by enciphering 2^16 of them, again and again until the result
is below n: some 65536 / n times an index, which takes 30 ms for n = 2. Here all 2^16
are enciphered at once and the repetitions are doubled, once an epoch. The cipher is
Simon's (eprint.iacr.org/2013/404) with four rounds, the walk that of Black and Rogaway
(Ciphers with Arbitrary Finite Domains, 2002).
"""

import functools

import numpy as np

MAX_COUNT = 1 << 16  # beyond, Grain walks at most four times
_ROUNDS = 4


class EpochOrder:
  """Called with (index, number of that index without shuffling), returns the number.

  An index beyond `count` is one of a later epoch, which has its own order.
  """

  def __init__(self, first, count, seed):
    self._first, self._count, self._seed = first, count, seed

  def __call__(self, index, number):
    del number
    epoch, i = divmod(index, self._count)
    return self._first + int(permutation(self._count, (self._seed + epoch) % 2**32)[i])


@functools.lru_cache(maxsize=64)  # of several members; at most 128 kB each
def permutation(count, seed):
  """Returns uint16 [count]: the order that Grain gives `count` numbers under `seed`."""
  if count == 1:
    return np.zeros(1, np.uint16)
  following = _encipher(_round_keys(seed))
  order, walk = following[:count], following.copy()
  walk[:count] = np.arange(count)  # numbers below `count` are where a walk ends
  while (order >= count).any():
    order = walk[order]
    walk = walk.take(walk, mode='wrap')  # twice as many steps; wrap: no bounds check
  return order


def _encipher(keys):
  """Returns uint16 [2^16]: what each number becomes."""
  byte = np.arange(256, dtype=np.uint8)
  once, twice = (byte << 1) | (byte >> 7), (byte << 2) | (byte >> 6)
  mixed = (once & byte) ^ twice
  left, right = np.repeat(byte, 256), np.tile(byte, 256)
  for i in range(0, _ROUNDS, 2):
    left ^= mixed.take(right, mode='wrap') ^ np.uint8(keys[i] & 0xFF)
    right ^= mixed.take(left, mode='wrap') ^ np.uint8(keys[i + 1] & 0xFF)
  return (left.astype(np.uint16) << 8) | right


def _round_keys(seed):
  """Returns what C++'s std::seed_seq{seed} generates ([rand.util.seedseq])."""
  n, t = _ROUNDS, (_ROUNDS - 1) // 2
  p, q, word = (n - t) // 2, (n - t) // 2 + t, 0xFFFFFFFF
  keys = [0x8B8B8B8B] * n
  added = [1, 1 + seed] + list(range(2, n))
  for k in range(n):
    x = keys[k] ^ keys[(k + p) % n] ^ keys[k - 1]
    r = 1664525 * (x ^ (x >> 27)) & word
    keys[(k + p) % n] = (keys[(k + p) % n] + r) & word
    r = (r + added[k]) & word
    keys[(k + q) % n] = (keys[(k + q) % n] + r) & word
    keys[k] = r
  for k in range(n):
    x = (keys[k] + keys[(k + p) % n] + keys[k - 1]) & word
    r = 1566083941 * (x ^ (x >> 27)) & word
    keys[(k + p) % n] ^= r
    r = (r - k) & word
    keys[(k + q) % n] ^= r
    keys[k] = r
  return keys
