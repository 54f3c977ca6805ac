"""Durations as people write them: 90s, 15m, 1h, 1d."""

import re

from gpt_jax.core.errors import ConfigError

UNITS = {'s': 1.0, 'm': 60.0, 'h': 3600.0, 'd': 86_400.0}


def parse(text, flag, lowest=1.0):
  """Returns seconds; ConfigError, naming `flag`, for another form or below `lowest`."""
  found = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([smhd])', text.strip().lower())
  seconds = float(found[1]) * UNITS[found[2]] if found else -1.0
  if seconds < lowest:
    raise ConfigError(
      f'{flag}={text}: expected a number and a unit, as in 90s, 15m, 1h or 1d, of at'
      f' least {lowest:g} s.'
    )
  return seconds


def show(seconds):
  """Returns seconds in the largest unit that leaves a whole number."""
  unit = next(
    (
      one
      for one in reversed(UNITS)
      if seconds >= UNITS[one] and not seconds % UNITS[one]
    ),
    's',
  )
  return f'{seconds / UNITS[unit]:g} {unit}'
