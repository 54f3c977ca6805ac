"""The text of a file of examples: decoded, unpacked, with line ends of one kind."""

from gpt_jax.core.errors import DataError, require_none
from gpt_jax.data import encoding_guess, encodings, files

_SAMPLE_BYTES = 1 << 16


def text_of(path, encoding):
  """Returns the text of `path`, unpacked where it is a .gz.

  Without a byte-order mark; CRLF becomes a line feed. Raises DataError for a file that
  is empty, damaged or not in `encoding`, naming the encoding that it may be in.
  """
  require_none(encodings.name_problems(encoding))
  if path.is_dir():
    raise DataError(f'{path}: is a folder; give the files in it (task.files).')
  content = b''.join(files.blocks(path))
  if not content:
    raise DataError(f'{path}: is empty (0 bytes); give a file with examples.')
  is_utf8 = encodings.is_utf8(encoding)
  if is_utf8 and (name := encoding_guess.utf16_name(content[:_SAMPLE_BYTES])):
    raise DataError(f'{path}: is {name.upper()}, not UTF-8: set data.encoding={name}.')
  try:
    text = str(content, encoding)
  except UnicodeError as error:
    position, reason = getattr(error, 'start', 0), getattr(error, 'reason', error)
    found = 'UTF-8' if is_utf8 else f'in data.encoding={encoding!r}'
    raise DataError(
      f'{path}: byte {position} is not {found} ({reason}):'
      f' {encodings.advice(content, position)}.'
    ) from error
  return text.removeprefix('\ufeff').replace('\r\n', '\n')


def lines(path, encoding):
  """Returns the lines of `path`, without their ends; DataErrors as `text_of`.

  Cut at line feeds alone: texts may contain the other separators of Unicode.
  """
  found = text_of(path, encoding).split('\n')
  return found if found[-1] else found[:-1]


def filled_lines(path, encoding):
  """Yields (place, line) for each line of `path` that is not blank."""
  for number, line in enumerate(lines(path, encoding), start=1):
    if line.strip():
      yield f'{path}, line {number}', line
