"""Asks a process of its own which bytes hold which array, since asking leaks.

TensorStore 0.1.86 never frees what `ts.ocdbt.dump` has told: a third of a megabyte for
each save of a model of two layers. The first answers come from this process, so that a
short run needs no other. Then a small one gives them, and a new one takes its place
before it has grown. It ends by itself when this process does: its input ends.
"""

import contextlib
import json
import subprocess
import sys
import threading
from typing import Any

from gpt_jax import checkpoint_chunks
from gpt_jax.checkpoint_chunks import Chunk

ANSWERED_HERE = 16  # four saves of parameters and optimizer
ANSWERED_BY_ONE = 400

_PROGRAM = """
import sys
sys.path[:] = {path!r}
from gpt_jax import checkpoint_index
checkpoint_index.answer(sys.stdin, sys.stdout)
"""


class Index:
  """Answers like `checkpoint_chunks.chunks`; threads take turns."""

  def __init__(self, here=ANSWERED_HERE, by_one=ANSWERED_BY_ONE):
    self._here, self._by_one = here, by_one
    self._asked = 0
    self._process: Any = None
    self._lock = threading.Lock()

  def chunks(self, folder):
    """Returns `{file below folder: [Chunk]}`; raises what TensorStore raises."""
    with self._lock:
      self._asked += 1
      found = self._ask(folder) if self._asked > self._here else None
    # Also where the other process has failed: here its error shows, if there is one.
    return checkpoint_chunks.chunks(folder) if found is None else found

  def close(self):
    """Ends the other process, if there is one; it has nothing to lose."""
    if self._process is not None:
      self._process.kill()
      self._process.wait()
      for pipe in (self._process.stdin, self._process.stdout):
        with contextlib.suppress(OSError):
          pipe.close()
      self._process = None

  def _ask(self, folder):
    if self._asked % self._by_one == 0:
      self.close()
    try:
      if self._process is None:
        self._process = _start()
      self._process.stdin.write(json.dumps(str(folder)) + '\n')
      self._process.stdin.flush()
      listed = json.loads(self._process.stdout.readline())
    except (OSError, ValueError):
      self.close()
      return None
    return {
      file: [Chunk(offset, length, tuple(arrays)) for offset, length, arrays in parts]
      for file, parts in listed.items()
    }


def _start():
  return subprocess.Popen(
    [sys.executable, '-c', _PROGRAM.format(path=sys.path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    start_new_session=True,  # Ctrl-C is for the run, which then saves once more
  )


def answer(questions, answers):
  """Writes the chunks of each folder that a line of `questions` names; to be a main."""
  for line in questions:
    found = checkpoint_chunks.chunks(json.loads(line))
    listed = {
      file: [[chunk.offset, chunk.length, chunk.arrays] for chunk in chunks]
      for file, chunks in found.items()
    }
    answers.write(json.dumps(listed) + '\n')
    answers.flush()


chunks = Index().chunks
