"""Errors that a user can fix, each class with its exit code.

The command line prints their message without a traceback. Any other exception is a bug
of ours (exit code 1).
"""

import functools
import sys
import typing


class UserError(ValueError):
  """Base of all errors whose message tells the user what to change."""

  exit_code = 2


class ConfigError(UserError):
  """A config or command line that cannot be run."""


class Problem(typing.NamedTuple):
  """One thing that is wrong with a config, told after the name of its field."""

  field: str
  text: str
  """Begins with `=value: ` or `: `; names the other fields that it depends on."""

  def __str__(self):
    return self.field + self.text


def require_none(problems):
  """Raises a ConfigError of all `problems`, if there are any."""
  if problems:
    lines = (str(problem) for problem in problems)
    raise ConfigError('\n'.join(line + '.' * (line[-1] != '?') for line in lines))


class DataError(UserError):
  """Data that is missing, empty, unreadable or not that of the run's start."""

  exit_code = 3


class CheckpointError(UserError):
  """A checkpoint that is missing, damaged or belongs to another run."""

  exit_code = 4


class StorageError(UserError):
  """A place that cannot be written."""

  exit_code = 5


class DivergedError(UserError):
  """A run that no longer makes progress: losses that are not finite, or spikes."""

  exit_code = 6


class Interrupted(Exception):
  """A run that stopped in order when asked to; the same command resumes it.

  No error: EX_TEMPFAIL of sysexits.h.
  """

  exit_code = 75


class AbortedStart(Interrupted):
  """A start that was asked to stop before its first step: nothing was to be saved."""


def require_extra(extra, package):
  """Returns the ImportError message for an optional `package` of `[extra]`."""
  return (
    f"needs the package '{package}'; install it with: pip install 'gpt_jax[{extra}]'"
  )


@functools.cache
def note_once(text):
  """Prints a line on standard error that the user should know of, once a process."""
  print(text, file=sys.stderr)
