"""Files that are read once, however often a start asks for their examples."""

import contextlib
import contextvars

_kept: contextvars.ContextVar[dict | None] = contextvars.ContextVar(
  'kept', default=None
)


@contextlib.contextmanager
def reading_once():
  """Keeps what `once` reads while entered; all of it is let go at the end.

  Entered within itself it is the outer one that keeps.
  """
  if _kept.get() is not None:
    yield
    return
  token = _kept.set({})
  try:
    yield
  finally:
    _kept.reset(token)


def once(read, **asked):
  """Returns `read(**asked)` as a list; within `reading_once` it is read at most once.

  The list is the caller's own; what is in it is shared, and not to be changed.
  """
  kept = _kept.get()
  if kept is None:
    return list(read(**asked))
  key = read, repr(asked)  # of plain values
  if key not in kept:
    kept[key] = list(read(**asked))
  return list(kept[key])
