"""Output that nobody reads any more, as after `gpt-jax ... | head`."""

import os
import select
import sys


def is_closed(stream):
  """Returns whether `stream` writes to a pipe whose reader has gone."""
  try:
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # errors are reported unasked
  except (OSError, ValueError, AttributeError):  # no file: a notebook, a test
    return False
  return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def mute_closed():
  """Sends further output to closed pipes nowhere; returns whether there are any."""
  closed = [stream for stream in (sys.stdout, sys.stderr) if is_closed(stream)]
  for stream in closed:
    send_nowhere(stream)
  return bool(closed)


def send_nowhere(stream):
  """Discards what is written to `stream` from now on."""
  nowhere = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, stream.fileno())
  os.close(nowhere)
