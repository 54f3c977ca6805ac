"""A hash table of keys of 128 bits, for arrays of them at once."""

import numpy as np

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


def distinct(low, high):
  """Returns (index of one of each key, which of these each key is)."""
  order = np.lexsort((low, high))
  low, high = low[order], high[order]
  is_first = np.ones(len(order), bool)
  is_first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
  inverse = np.empty(len(order), np.int64)
  inverse[order] = np.cumsum(is_first) - 1
  return order[is_first], inverse


class KeyTable:
  """Numbers by key, with open addressing and linear probing; grows never."""

  def __init__(self, bits):
    """Has 2^bits slots; more than half of them should stay free."""
    self._bits = bits
    self._low = np.zeros(1 << bits, np.uint64)
    self._high = np.zeros(1 << bits, np.uint64)
    self._number = np.full(1 << bits, -1, np.int32)  # -1: a free slot

  def find(self, low, high):
    """Returns the number of each key, int32; -1 where it is not in the table."""
    slots = self._slots(low, high)
    found = self._number[slots]
    is_same = (self._low[slots] == low) & (self._high[slots] == high)
    others = np.flatnonzero(~is_same & (found >= 0))  # another key is in the slot
    slots = slots[others]
    while len(others):
      found[others] = -1
      slots = (slots + 1) & ((1 << self._bits) - 1)
      here = self._number[slots]
      is_same = (self._low[slots] == low[others]) & (self._high[slots] == high[others])
      is_hit = is_same & (here >= 0)
      found[others[is_hit]] = here[is_hit]
      goes_on = ~is_same & (here >= 0)
      others, slots = others[goes_on], slots[goes_on]
    return found

  def insert(self, low, high, numbers):
    """Adds keys that are not in the table, each once."""
    slots = self._slots(low, high)
    while len(slots):
      # Of several keys for one free slot the first one gets it.
      free = np.flatnonzero(self._number[slots] < 0)
      _, firsts = np.unique(slots[free], return_index=True)
      placed = free[firsts]
      where = slots[placed]
      self._low[where], self._high[where] = low[placed], high[placed]
      self._number[where] = numbers[placed]
      is_left = np.ones(len(slots), bool)
      is_left[placed] = False
      low, high, numbers = low[is_left], high[is_left], numbers[is_left]
      slots = (slots[is_left] + 1) & ((1 << self._bits) - 1)

  def _slots(self, low, high):
    mixed = (low ^ (high * _FACTORS[1])) * _FACTORS[0]
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * _FACTORS[1]) >> np.uint64(64 - self._bits)).astype(np.int64)
