"""Server processes: started in the background, ended by their process ids."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

STOP_SECONDS = 15.0


def until(happened, seconds, what):
  """Returns the first true answer of `happened()`; TimeoutError after `seconds`."""
  deadline = time.monotonic() + seconds
  while not (answer := happened()):
    if time.monotonic() > deadline:
      raise TimeoutError(f'{what}: not within {seconds:g} s')
    time.sleep(0.2)
  return answer


def start(words, log, **options):
  """Returns the Popen of a server that stays in the foreground of its process."""
  with open(log, 'ab') as file:
    return subprocess.Popen(
      [str(word) for word in words],
      stdin=subprocess.DEVNULL,
      stdout=file,
      stderr=file,
      start_new_session=True,  # Ctrl-C reaches the lane alone
      **options,
    )


def end(process):
  """Ends a process of `start`: asks, waits, then kills."""
  process.terminate()
  try:
    process.wait(STOP_SECONDS)
  except subprocess.TimeoutExpired:
    process.kill()
    process.wait()


def end_by_file(pid_file):
  """Ends the daemon whose process id is in a file, if it runs."""
  with contextlib.suppress(OSError, ValueError):
    pid = int(pathlib.Path(pid_file).read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
      os.kill(pid, 0)  # OSError once it is gone
      time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
