"""The tree of prefixes agrees with a table of all prefixes, and loses no block."""

import numpy as np
import pytest

from gpt_jax.inference.prefix_cache import PrefixCache

BLOCK = 2


class Oracle:
  """The same cache as a table: prefix -> (block, last use)."""

  def __init__(self, num_blocks):
    self.num_blocks, self.table, self.held, self.clock = num_blocks, {}, [], 0

  def match(self, start, ids):
    found = []
    for end in range(start + BLOCK, len(ids) + 1, BLOCK):
      if tuple(ids[:end]) not in self.table:
        break
      self._use(tuple(ids[:end]))
      found.append(tuple(ids[:end]))
    return found

  def insert(self, prefix):
    if len(self.table) == self.num_blocks and not self._evict():
      return False
    self._use(prefix)
    return True

  def _use(self, prefix):
    self.clock += 1
    self.table[prefix] = self.clock

  def _evict(self):
    leaves = [
      prefix
      for prefix in self.table
      if not any(
        len(other) > len(prefix) and other[: len(prefix)] == prefix
        for other in self.table
      )
      and prefix not in self.held
    ]
    if not leaves:
      return False
    oldest = min(leaves, key=self.table.get)
    used = self.table.pop(oldest)
    parent = oldest[:-BLOCK]
    if parent:
      self.table[parent] = max(self.table[parent], used)
    return True


def prefix_of(node):
  """Returns the ids that the path to `node` spells."""
  parts = []
  while node.parent is not None:
    parts.insert(0, tuple(np.frombuffer(node.key, np.int32).tolist()))
    node = node.parent
  return sum(parts, ())


def read(cache, oracle, ids):
  """Walks `ids` through both as a prompt that is read; returns the last node."""
  nodes, known = cache.match(cache.root, ids), oracle.match(0, ids)
  assert [prefix_of(node) for node in nodes] == known
  node = nodes[-1] if nodes else cache.root
  cache.hold(node)
  oracle.held.append(prefix_of(node))
  for end in range(len(known) * BLOCK + BLOCK, len(ids) + 1, BLOCK):
    child = cache.insert(node, ids[end - BLOCK : end])
    assert (child is not None) == oracle.insert(tuple(ids[:end]))
    if child is None:
      break
    cache.move(node, child)
    oracle.held.remove(prefix_of(node))
    oracle.held.append(prefix_of(child))
    node = child
  return node


@pytest.mark.parametrize('seed', range(10))
def test_the_tree_agrees_with_a_table_of_prefixes(seed):
  rng = np.random.default_rng(seed)
  num_blocks = int(rng.integers(1, 12))
  cache, oracle, held = PrefixCache(num_blocks, BLOCK), Oracle(num_blocks), []
  for _ in range(300):
    if rng.random() < 0.5 or not held:
      ids = rng.integers(0, 2, rng.integers(1, 11)).tolist()
      held.append(read(cache, oracle, ids))
    else:
      node = held.pop(rng.integers(len(held)))
      oracle.held.remove(prefix_of(node))
      cache.let_go(node)
    nodes = list(cache._nodes())
    assert {prefix_of(node): node.last_use for node in nodes} == oracle.table
    # Every block is either free or in one node.
    blocks = sorted([node.block for node in nodes] + cache._free)
    assert blocks == list(range(num_blocks)) and len(cache) == len(nodes)
    assert sum(node.holders for node in [cache.root, *nodes]) == len(held)


def test_a_held_path_is_never_evicted():
  cache = PrefixCache(2, BLOCK)
  first = cache.insert(cache.root, [1, 1])
  cache.hold(first)
  second = cache.insert(first, [2, 2])
  cache.move(first, second)
  assert cache.insert(cache.root, [3, 3]) is None
  cache.let_go(second)
  third = cache.insert(cache.root, [3, 3])
  assert third.block == second.block
  assert cache.match(cache.root, [1, 1, 2, 2]) == [first]


def test_less_than_a_block_matches_nothing():
  cache = PrefixCache(2, BLOCK)
  cache.insert(cache.root, [1, 1])
  assert cache.match(cache.root, [1]) == []
  assert len(cache.match(cache.root, [1, 1, 1])) == 1


def test_the_queue_of_old_leaves_stays_short():
  cache = PrefixCache(3, BLOCK)
  for i in range(1000):
    cache.match(cache.root, [i % 3] * BLOCK) or cache.insert(cache.root, [i % 3] * 2)
  assert len(cache._oldest) < 100


def test_a_cache_without_blocks_remembers_nothing():
  cache = PrefixCache(0, BLOCK)
  assert cache.insert(cache.root, [1, 1]) is None and len(cache) == 0
