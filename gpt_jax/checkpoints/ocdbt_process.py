"""Asks a process of its own which bytes hold which array, since asking leaks.

TensorStore 0.1.86 never frees what `ts.ocdbt.dump` has told, about 2 kB for each shard
of an array: 0.4 MB for each save of a model of two layers. The first answers come from
this process, so that a short run needs no other. Then a small one gives them, of 55 MB
when new, and another takes its place before it has grown by some 60 MB, or by one
answer. It ends by itself when its input does: with this process and what this one
forked.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import warnings
from typing import Any

from gpt_jax.checkpoints import ocdbt
from gpt_jax.checkpoints.ocdbt import Chunk

SHARDS_HERE = 500  # told by this process, and leaked, and the answer that passes it
SHARDS_OF_ONE = 30_000
LONGEST_SECONDS = 60  # to wait for an answer, which takes milliseconds

_PROGRAM = """
import sys
sys.path[:] = {path!r}
from gpt_jax.checkpoints import ocdbt_process
ocdbt_process.answer(sys.stdin, sys.stdout)
"""


class Index:
  """Answers like `ocdbt.chunks`; threads take turns."""

  def __init__(self, here=SHARDS_HERE, of_one=SHARDS_OF_ONE):
    self._left_here, self._of_one = here, of_one
    self._left, self._process = 0, None
    self._lock = threading.Lock()

  def chunks(self, folder):
    """Returns `{file below folder: [Chunk]}`; raises what TensorStore raises."""
    with self._lock:
      found = self._ask(folder) if self._left_here <= 0 else None
      if found is None:  # where the other process failed, the error shows here
        found = ocdbt.chunks(folder)
        self._left_here -= _count(found)
      return found

  def close(self):
    """Ends the other process, if there is one; it has nothing to lose."""
    with self._lock:
      self._close()

  def _close(self):
    if self._process is None:
      return
    self._process.kill()
    self._process.wait()
    for pipe in (self._process.stdin, self._process.stdout):
      with contextlib.suppress(OSError):
        pipe.close()
    self._process = None

  def _ask(self, folder):
    """Returns what the other process tells, or None where it cannot."""
    try:
      if self._process is None:
        self._process, self._left = _start(), self._of_one
      found = _exchange(self._process, os.path.abspath(folder))
    except (OSError, ValueError) as error:
      warnings.warn(f'checkpoint index: {error}; asked here instead', stacklevel=3)
      self._close()
      return None
    except BaseException:
      self._close()  # else the answer to this would be taken for that to the next
      raise
    if found is None:
      return None
    self._left -= _count(found)
    if self._left <= 0:
      self._close()
    return found


def _start() -> Any:
  if not sys.executable or getattr(sys, 'frozen', False):
    raise OSError('there is no Python to start')
  return subprocess.Popen(
    [sys.executable, '-c', _PROGRAM.format(path=sys.path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    start_new_session=True,  # Ctrl-C is for the run, which then saves once more
  )


def _exchange(process, folder):
  """Returns the chunks of `folder`; None where TensorStore cannot tell."""
  process.stdin.write(json.dumps(folder) + '\n')
  process.stdin.flush()
  if not select.select([process.stdout], [], [], LONGEST_SECONDS)[0]:
    raise OSError(f'no answer in {LONGEST_SECONDS} s')
  line = process.stdout.readline()
  if not line:
    raise OSError('the process that knows has ended')
  listed = json.loads(line)
  return listed and {
    file: [Chunk(offset, length, tuple(arrays)) for offset, length, arrays in parts]
    for file, parts in listed.items()
  }


def _count(found):
  """Returns how many shards were told of; small ones share a chunk."""
  return sum(len(chunk.arrays) for chunks in found.values() for chunk in chunks)


def answer(questions, answers):
  """Writes the chunks of each folder that a line of `questions` names, or null."""
  for line in questions:
    try:
      found = ocdbt.chunks(json.loads(line))
      listed = {
        file: [[chunk.offset, chunk.length, chunk.arrays] for chunk in chunks]
        for file, chunks in found.items()
      }
    except Exception:  # of whatever kind: who asked will meet it again
      listed = None
    answers.write(json.dumps(listed) + '\n')
    answers.flush()


chunks = Index().chunks
