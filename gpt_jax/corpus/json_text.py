"""The text in a line of JSON that is too long to be parsed as one."""

import codecs
import json
import re

from gpt_jax.core.errors import DataError
from gpt_jax.data.file_bytes import FileBytes

_BLOCK = 1 << 20
# What ends a stretch that says nothing: quotes and brackets outside of strings ...
_STRUCTURE = re.compile(rb'["{}\[\]:,]')
# ... and a stretch of a string, in which escapes and halves of characters are whole.
_IN_STRING = re.compile(
  rb'(?:[^"\\]++|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
  rb'|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+',
  re.DOTALL,
)
_MAX_KEY = 1 << 16


def stream(line: FileBytes, field, place):
  """Yields the value of `field` in the JSON object `line` as blocks of UTF-8.

  Memory is bounded whatever the length of the line. Raises DataError where there is no
  such field, it is no text, or the line is no JSON object as far as it was read.
  """
  scanner = _Scanner(line, place)
  scanner.expect(b'{')
  while True:
    key = scanner.key()
    scanner.expect(b':')
    if key == field:
      if scanner.peek() != b'"':
        raise DataError(f'{place}: data.text_field={field!r} is no text.')
      yield from _decoded(scanner.string(), place)
      return
    scanner.skip_value()
    if scanner.expect(b',}') == b'}':
      raise DataError(
        f'{place}: no field {field!r}; set data.text_field to one it has.'
      )


def _stretch(content):
  """Returns the length of the string at the start of bytes, as far as it is whole."""
  found = _IN_STRING.match(content)
  assert found is not None  # the pattern matches nothing, too
  return found.end()


class _Scanner:
  """Reads JSON's structure forward, in blocks."""

  def __init__(self, line, place):
    self._line, self._place, self._position = line, place, 0
    self._block, self._offset = b'', 0  # block, and where it begins in the line

  def _ahead(self):
    """Returns the bytes from the position on, some of them; b'' at the end."""
    inside = self._position - self._offset
    if inside >= len(self._block):
      self._offset, inside = self._position, 0
      self._block = self._line[self._position : self._position + _BLOCK]
    return self._block[inside:] if inside else self._block

  def _fail(self, what):
    raise DataError(f'{self._place}: not JSON ({what} at byte {self._position}).')

  def peek(self):
    """Returns the next byte that is no white space, b'' at the end."""
    while ahead := self._ahead():
      stripped = ahead.lstrip(b' \t\r\n')
      self._position += len(ahead) - len(stripped)
      if stripped:
        return stripped[:1]
    return b''

  def expect(self, choices):
    found = self.peek()
    if not found or found not in choices:
      self._fail(f'expected one of {choices.decode()}')
    self._position += 1
    return found

  def key(self):
    parts, size = [], 0
    for part in self.string():
      parts.append(part)
      size += len(part)
      if size > _MAX_KEY:
        self._fail('a key without end')
    try:
      return json.loads(b'"' + b''.join(parts) + b'"')
    except ValueError:
      self._fail('a damaged key')

  def string(self):
    """Yields the next string as it stands, without quotes; escapes are whole."""
    self.expect(b'"')
    while ahead := self._ahead():
      end = _stretch(ahead)
      self._position += end
      if ahead[end : end + 1] == b'"':
        self._position += 1
        yield ahead[:end]
        return
      yield ahead[:end]
      if end < len(ahead):  # an escape that the block cuts, or a damaged one
        self._offset = self._position
        self._block = self._line[self._position : self._position + _BLOCK]
        if not _stretch(self._block):
          self._fail('a damaged escape, or half a character')
    self._fail('a string without end')

  def skip_value(self):
    depth = 0
    while True:
      start = self.peek()
      if not start:
        self._fail('a value without end')
      if start == b'"':
        for _ in self.string():
          pass
      elif start in b'{[':
        depth, self._position = depth + 1, self._position + 1
        continue
      elif start in b'}]' and depth:
        depth, self._position = depth - 1, self._position + 1
      elif start in b',:' and depth:
        self._position += 1
        continue
      elif start in b',:}]':
        return
      else:  # a number, true, false or null
        ahead = self._ahead()
        found = _STRUCTURE.search(ahead)
        self._position += found.start() if found else len(ahead)
      if not depth and self.peek() in (b',', b'}'):
        return


def _decoded(parts, place):
  """Yields UTF-8 of the parts of a JSON string."""
  decoder = codecs.getincrementaldecoder('utf-8')()
  for part in parts:
    try:
      # json.loads refuses what JSON has no place for: control characters.
      yield json.loads('"' + decoder.decode(part) + '"').encode()
    except UnicodeEncodeError as error:
      raise DataError(f'{place}: has half a character ({error}).') from error
    except ValueError as error:
      raise DataError(f'{place}: not JSON ({error}).') from error
