"""How a process ends: output written, exit functions called, the exit code kept."""

import atexit
import os
import sys

from gpt_jax.core import pipes


def flush_output():
  """Writes what stands in the buffers of standard output and error."""
  # Keeps the exit code where output cannot be written: Python would exit with 120.
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
    except OSError:  # a full disk, a pipe that nobody reads
      pipes.send_nowhere(stream)


def end_at_once(code):
  """Ends this process with `code` after its exit functions; does not return."""
  # Not by the interpreter, which takes down what threads of libraries still use: of
  # eighty processes that gloo had connected one stood still for ever, its work done.
  atexit._run_exitfuncs()
  flush_output()
  os._exit(code)
