"""Plain text: an example a line, or an example a file."""

from gpt_jax.examples import content
from gpt_jax.examples.record import Record


def read_lines(paths, encoding):
  """Yields {'text'} for each line that is not blank."""
  for path in paths:
    for place, line in content.filled_lines(path, encoding):
      yield Record({'text': line}, place)


def read_files(paths, encoding):
  """Yields {'text'} for each file."""
  for path in paths:
    yield Record({'text': content.text_of(path, encoding)}, str(path))
