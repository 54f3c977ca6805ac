"""Which blocks of a store hold the keys and values of which beginnings of texts.

A radix tree whose symbols are blocks of token ids: a node is one block of the store,
the path to it the text before and in that block. What is in the blocks is the business
of whoever copies them (`slots.py`); this is the book-keeping, on the host.
"""

import dataclasses
import heapq
import itertools

import numpy as np


@dataclasses.dataclass(eq=False)
class Node:
  """A block of a text that begins as the path from the root says."""

  block: int
  """Its number in the store; -1 for the root, which is the empty text."""
  parent: 'Node | None' = None
  key: bytes = b''
  children: dict = dataclasses.field(default_factory=dict)
  holders: int = 0
  """How many hold this node: neither it nor its ancestors are evicted."""
  last_use: int = 0


class PrefixCache:
  """A radix tree over `num_blocks` blocks of `block_tokens` tokens each.

  When all blocks are taken, the leaf that was used least recently and that nobody holds
  gives its block away.
  """

  # Only leaves are evicted, so a node that is held keeps the whole path to it.

  def __init__(self, num_blocks, block_tokens):
    self.block_tokens = block_tokens
    self.root = Node(block=-1)
    self._roots = {(None, None): self.root}  # by adapter and principal
    self._num_blocks = num_blocks
    self._free = list(range(num_blocks - 1, -1, -1))
    self._clock = 0
    self._ties = itertools.count()
    self._oldest = []  # heap of (last use, tie, node); entries may be out of date

  def __len__(self):
    """Returns how many blocks are taken."""
    return self._num_blocks - len(self._free)

  def root_of(self, adapter, principal=None):
    """Returns the empty text as `adapter` reads it; None: as the base does.

    What adapters read of the same text has other keys and values, and one `principal`
    must not learn by the time it takes what another has sent: nothing is shared.
    """
    return self._roots.setdefault((adapter, principal), Node(block=-1))

  def match(self, node, ids):
    """Returns the nodes below `node` that spell the longest beginning of `ids`."""
    found = []
    while len(ids) >= self.block_tokens:
      child = node.children.get(self._key(ids))
      if child is None:
        break
      self._use(child)
      found.append(child)
      node, ids = child, ids[self.block_tokens :]
    return found

  def insert(self, node, ids):
    """Returns the new node below `node` for one block of `ids`.

    None: all blocks are on paths that are held. `node` has to be held, or the root.
    """
    assert len(ids) == self.block_tokens and self._key(ids) not in node.children
    assert node.holders or node in self._roots.values()
    block = self._take_block()
    if block is None:
      return None
    child = Node(block, parent=node, key=self._key(ids))
    node.children[child.key] = child
    self._use(child)
    return child

  def hold(self, node):
    """Keeps `node` and the path to it until as many calls of `let_go`."""
    node.holders += 1

  def let_go(self, node):
    assert node.holders > 0
    node.holders -= 1
    self._offer(node)

  def move(self, old, new):
    """Holds `new` instead of `old`."""
    self.hold(new)
    self.let_go(old)

  def _key(self, ids):
    return np.asarray(ids[: self.block_tokens], np.int32).tobytes()

  def _use(self, node):
    self._clock += 1
    node.last_use = self._clock
    self._offer(node)

  def _offer(self, node):
    """Queues `node` for eviction where nothing stands against it."""
    if self._is_evictable(node):
      heapq.heappush(self._oldest, self._entry(node))
      if len(self._oldest) > 64 + 4 * self._num_blocks:  # mostly out of date
        nodes = [node for node in self._nodes() if self._is_evictable(node)]
        self._oldest = [self._entry(node) for node in nodes]
        heapq.heapify(self._oldest)

  def _entry(self, node):
    return node.last_use, next(self._ties), node

  def _is_evictable(self, node):
    return node.parent is not None and not node.children and not node.holders

  def _take_block(self):
    """Returns the number of a free block, after an eviction if need be, or None."""
    if self._free:
      return self._free.pop()
    while self._oldest:
      last_use, _, node = heapq.heappop(self._oldest)
      if last_use == node.last_use and self._is_evictable(node):
        return self._evict(node)
    return None

  def _evict(self, node):
    parent = node.parent
    del parent.children[node.key]
    node.parent = None
    # Whoever read the block read those before it too.
    parent.last_use = max(parent.last_use, node.last_use)
    self._offer(parent)
    return node.block

  def _nodes(self):
    """Yields all nodes but the roots."""
    todo = [node for root in self._roots.values() for node in root.children.values()]
    while todo:
      node = todo.pop()
      todo += node.children.values()
      yield node
