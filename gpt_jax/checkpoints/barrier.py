"""The barriers of a save, which a process whose save failed joins all the same."""

import threading

import orbax.checkpoint as ocp

TIMEOUT_MS = 20 * 60 * 1000  # as Orbax's own


class SaveBarrier:
  """The `barrier_sync_fn` of a CheckpointManager; call `begin` before each save."""

  # What Orbax calls its two barriers, before the commit and after it. A process that
  # failed would never come, and the others would wait for twenty minutes: a thread of
  # it joins them instead, and the first process commits nothing that lacks a part.
  POINTS: tuple[str, ...] = ('async_write_complete', 'async_commit_complete')

  def __init__(self):
    self._wait = ocp.multihost.get_barrier_sync_fn()
    self._save_number, self._is_watched = 0, False
    self._remaining: list[str] = []

  def begin(self):
    """Numbers a save: a step that is tried again waits under another name."""
    self._save_number += 1
    self._remaining, self._is_watched = list(self.POINTS), False

  def __call__(self, *, key, timeout_ms):
    point = next((point for point in self.POINTS if point in key), None)
    if point is None:
      return self._wait(key=key, timeout_ms=timeout_ms)
    self._remaining.remove(point)
    self._wait(key=f'{point}.save_{self._save_number}', timeout_ms=timeout_ms)

  def watch(self):
    """Joins the remaining barriers once the calling thread, which saves, has ended."""
    if not self._is_watched:
      self._is_watched = True
      arguments = (threading.current_thread(), self._remaining, self._save_number)
      threading.Thread(target=self._join_remaining, args=arguments, daemon=True).start()

  def _join_remaining(self, saving, remaining, save_number):
    saving.join()
    for point in list(remaining):
      self._wait(key=f'{point}.save_{save_number}', timeout_ms=TIMEOUT_MS)
