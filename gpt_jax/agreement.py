"""What the processes of a run settle among themselves: all call, all get one answer.

Each question is a collective, so it waits for the steps under way: ask at a start and
at a save, not at every step. Alone, a process asks nobody.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils

from gpt_jax import errors

PROBLEM_BYTES = 4096
CLASSES = {
  kind.exit_code: kind
  for kind in vars(errors).values()
  if isinstance(kind, type) and issubclass(kind, errors.UserError)
}
"""Exit code -> class of error."""


def anywhere(is_so):
  """Returns whether `is_so` holds on any process."""
  if jax.process_count() == 1:
    return bool(is_so)
  return bool(np.any(multihost_utils.process_allgather(np.array(bool(is_so)))))


def of_primary(value):
  """Returns what the first process gives as `value`, a bool."""
  if jax.process_count() == 1:
    return bool(value)
  return bool(multihost_utils.broadcast_one_to_all(np.array(bool(value))))


def together(action):
  """Returns what `action()` does, or raises on all processes where it fails on one.

  Who did not fail himself raises the same class of UserError (others: RuntimeError)
  with the message of who did, so that all end alike and nobody waits for the dead.
  """
  try:
    result = action()
  except Exception as error:
    _problems(f'{getattr(error, "exit_code", 0)} {type(error).__name__}: {error}')
    raise
  if found := _problems(''):
    process, text = found
    code, _, said = text.partition(' ')
    kind, _, message = said.partition(': ')
    known = CLASSES.get(int(code))
    raise (known or RuntimeError)(
      f'process {process}: {message if known else f"{kind}: {message}"}'
    )
  return result


def _problems(text):
  """Returns `(process, text)` of the last process whose `text` is not '', else None.

  Of several the last: what stops the first one may be that another's part is missing.
  """
  if jax.process_count() == 1:
    return None
  mine = np.zeros(PROBLEM_BYTES, np.uint8)
  content = np.frombuffer(text.encode()[:PROBLEM_BYTES], np.uint8)
  mine[: len(content)] = content
  rows = multihost_utils.process_allgather(mine)
  given = [bytes(row).rstrip(b'\0').decode(errors='replace') for row in rows]
  return next(((n, t) for n, t in reversed([*enumerate(given)]) if t), None)
