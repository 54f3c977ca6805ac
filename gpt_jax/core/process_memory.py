"""How much memory this process takes, and the most that it has taken."""

import pathlib

_STATUS = pathlib.Path('/proc/self/status')


def resident_bytes():
  """Returns the bytes in memory now, None where the system does not say."""
  return _read('VmRSS')


def peak_bytes():
  """Returns the most bytes that have been in memory, None where it is not said."""
  return _read('VmHWM')


def _read(name):
  try:
    lines = _STATUS.read_text().splitlines()
  except OSError:  # not Linux
    return None
  values = dict(line.split(':', 1) for line in lines if ':' in line)
  return int(values[name].split()[0]) * 1024 if name in values else None
