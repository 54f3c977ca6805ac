"""The end of a process: exit functions, output and the exit code, and no more."""

import subprocess
import sys

PROGRAM = """
import atexit, sys
from gpt_jax.core import process_end

class Slow:
  def __del__(self):  # what the interpreter would take down
    print('taken down')

kept = Slow()
atexit.register(print, 'exit function', end='')
print('done')
process_end.end_at_once(75)
"""


def test_exit_functions_run_and_nothing_is_taken_down():
  ended = subprocess.run(
    [sys.executable, '-c', PROGRAM], capture_output=True, text=True
  )
  assert (ended.returncode, ended.stdout) == (75, 'done\nexit function')
