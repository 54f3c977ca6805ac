"""Keeps Orbax's own log lines off the console; its failures stay exceptions."""

import collections.abc
import dataclasses
import logging
import sys
import traceback

import absl.logging


def silence():
  """Hides Orbax's log lines (shown by absl's `--verbosity=1`) and left tracebacks."""
  # A failed save or restore raises in the caller; Orbax logs it several times more, and
  # each chunk that was under way prints a traceback of its own.
  logging.getLogger('absl').addFilter(_is_shown)
  logging.getLogger('asyncio').addFilter(_is_not_of_orbax)
  if not isinstance(sys.unraisablehook, _SkipOrbax):
    sys.unraisablehook = _SkipOrbax(sys.unraisablehook)


def first_line(error):
  """Returns kind and first line of an error and its cause, which names the array."""
  first, *_ = str(error).strip().splitlines() or ['']
  line = f'{type(error).__name__}: {first[:300]}'
  return f'{line} ({first_line(error.__cause__)})' if error.__cause__ else line


def _is_shown(record):
  return '/orbax/' not in record.pathname or absl.logging.vlog_is_on(1)


def _is_not_of_orbax(record):
  """Returns False for the tasks that a failed save abandons, and its later errors."""
  _, _, trace = record.exc_info or (None, None, None)
  frames = [frame.filename for frame in traceback.extract_tb(trace)]
  return not any('/orbax/' in text for text in (record.getMessage(), *frames))


@dataclasses.dataclass
class _SkipOrbax:
  """An unraisablehook that ignores the chunks of a save or restore that failed."""

  default_hook: collections.abc.Callable

  def __call__(self, unraisable):
    code = getattr(unraisable.object, 'cr_code', None)  # of an abandoned coroutine
    abandoned = code is not None and '/orbax/' in code.co_filename
    if not abandoned and str(unraisable.exc_value) != 'Event loop is closed':
      self.default_hook(unraisable)
