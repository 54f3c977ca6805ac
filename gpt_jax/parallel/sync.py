"""What the processes of a run agree on: all call, all get the same answer.

These are collectives that wait for the steps in flight: not for every step.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils

from gpt_jax.core import errors

PROBLEM_BYTES = 4096
CLASSES = {  # exit code -> class of error
  kind.exit_code: kind
  for kind in vars(errors).values()
  if isinstance(kind, type) and issubclass(kind, errors.UserError)
}


def any_process(flag):
  """Returns whether `flag` is true on any process."""
  if jax.process_count() == 1:
    return bool(flag)
  return bool(np.any(multihost_utils.process_allgather(np.array(bool(flag)))))


def broadcast_from_primary(value):
  """Returns the first process's `value`, a bool."""
  if jax.process_count() == 1:
    return bool(value)
  return bool(multihost_utils.broadcast_one_to_all(np.array(bool(value))))


def number_from_primary(value):
  """Returns the first process's `value`, a whole number of at most 31 bits."""
  if jax.process_count() == 1:
    return int(value)
  return int(multihost_utils.broadcast_one_to_all(np.array(value, np.int32)))


def raise_on_all(action):
  """Returns `action()`, or raises on all processes where it fails on one.

  The others raise the same class of UserError, or RuntimeError, with its message.
  """
  # Of several failures the last process's counts: the first may only miss a part that
  # another did not write.
  try:
    result = action()
  except Exception as error:
    mine = f'{getattr(error, "exit_code", 0)} {type(error).__name__}: {error}'
    found = _last_problem(mine)
    if found and found[0] != jax.process_index():
      raise _error_of(*found) from error
    raise
  if found := _last_problem(''):
    raise _error_of(*found)
  return result


def _error_of(process, text):
  code, _, message = text.partition(' ')
  if kind := CLASSES.get(int(code)):
    return kind(f'process {process}: {message.partition(": ")[2]}')
  return RuntimeError(f'process {process}: {message}')


def _last_problem(text):
  """Returns `(process, text)` of the last process whose `text` is not '', else None."""
  if jax.process_count() == 1:
    return (0, text) if text else None
  mine = np.zeros(PROBLEM_BYTES, np.uint8)
  content = np.frombuffer(text.encode()[:PROBLEM_BYTES], np.uint8)
  mine[: len(content)] = content
  rows = multihost_utils.process_allgather(mine)
  texts = [bytes(row).rstrip(b'\0').decode(errors='replace') for row in rows]
  return next(((n, t) for n, t in reversed([*enumerate(texts)]) if t), None)
