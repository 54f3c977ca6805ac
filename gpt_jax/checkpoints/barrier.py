"""How a save that fails in one process of several ends in all of them.

Orbax lets the processes of a run wait for each other twice in each save: before the
commit and after it. Who fails in between would never come, and the others would wait
for twenty minutes. Here he comes all the same: a thread of his joins what is left of
the save, and the first process commits nothing that lacks somebody's part.
"""

import threading

import orbax.checkpoint as ocp

TIMEOUT_MS = 20 * 60 * 1000  # as Orbax's own


class Meeting:
  """The `barrier_sync_fn` of a CheckpointManager; `begin` comes before each save."""

  PLACES: tuple[str, ...] = ('async_write_complete', 'async_commit_complete')
  """What Orbax calls the two, in the order in which each process comes to them."""

  def __init__(self):
    self._wait = ocp.multihost.get_barrier_sync_fn()
    self._number, self._is_watched = 0, False
    self._left: list[str] = []

  def begin(self):
    """Numbers a save: a step that is tried again meets under another name."""
    self._number += 1
    self._left, self._is_watched = list(self.PLACES), False

  def __call__(self, *, key, timeout_ms):
    place = next((place for place in self.PLACES if place in key), None)
    if place is None:
      return self._wait(key=key, timeout_ms=timeout_ms)
    self._left.remove(place)
    self._wait(key=f'{place}.save_{self._number}', timeout_ms=timeout_ms)

  def watch(self):
    """Joins what is left once the calling thread, the one that saves, has ended."""
    if not self._is_watched:
      self._is_watched = True
      saving, left = threading.current_thread(), self._left
      arguments = (saving, left, self._number)
      threading.Thread(target=self._make_up, args=arguments, daemon=True).start()

  def _make_up(self, saving, left, number):
    saving.join()
    for place in list(left):
      self._wait(key=f'{place}.save_{number}', timeout_ms=TIMEOUT_MS)
