"""What the processes of a run settle among themselves: all call, all get one answer.

Each question is a collective, so it waits for the steps under way: ask at a start and
at a save, not at every step. Alone, a process asks nobody.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils

from gpt_jax.core import errors

PROBLEM_BYTES = 4096
CLASSES = {
  kind.exit_code: kind
  for kind in vars(errors).values()
  if isinstance(kind, type) and issubclass(kind, errors.UserError)
}
"""Exit code -> class of error."""


def any_process(is_so):
  """Returns whether `is_so` holds on any process."""
  if jax.process_count() == 1:
    return bool(is_so)
  return bool(np.any(multihost_utils.process_allgather(np.array(bool(is_so)))))


def broadcast_from_primary(value):
  """Returns what the first process gives as `value`, a bool."""
  if jax.process_count() == 1:
    return bool(value)
  return bool(multihost_utils.broadcast_one_to_all(np.array(bool(value))))


def raise_on_all(action):
  """Returns what `action()` does, or raises on all processes where it fails on one.

  The others raise the same class of UserError (RuntimeError where it is none) with that
  one's message, so that all end alike and nobody waits for the dead. Of several the
  last counts: what stops the first may be that the part of another is missing.
  """
  try:
    result = action()
  except Exception as error:
    mine = f'{getattr(error, "exit_code", 0)} {type(error).__name__}: {error}'
    found = _last_problem(mine)
    if found and found[0] != jax.process_index():
      raise _told(*found) from error
    raise
  if found := _last_problem(''):
    raise _told(*found)
  return result


def _told(process, text):
  """Returns the error that another process has told of."""
  code, _, said = text.partition(' ')
  if kind := CLASSES.get(int(code)):
    return kind(f'process {process}: {said.partition(": ")[2]}')
  return RuntimeError(f'process {process}: {said}')


def _last_problem(text):
  """Returns `(process, text)` of the last process whose `text` is not '', else None."""
  if jax.process_count() == 1:
    return (0, text) if text else None
  mine = np.zeros(PROBLEM_BYTES, np.uint8)
  content = np.frombuffer(text.encode()[:PROBLEM_BYTES], np.uint8)
  mine[: len(content)] = content
  rows = multihost_utils.process_allgather(mine)
  given = [bytes(row).rstrip(b'\0').decode(errors='replace') for row in rows]
  return next(((n, t) for n, t in reversed([*enumerate(given)]) if t), None)
