"""Text as detectors read it, with the place of each character in the original.

Full-width letters and digits, other scripts' digits, and the many hyphens and spaces
are ASCII; characters without width are left out. `WORDS` also takes letters apart from
their accents (NFKD) and folds their case, so that every way to write a word is one.
"""

import array
import re
import unicodedata

_HYPHENS = '\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d'


def _plain(char):
  category = unicodedata.category(char)
  if category == 'Cf':  # zero-width characters, soft hyphens, marks of direction
    return ''
  if category == 'Nd':
    return str(unicodedata.decimal(char))
  if category == 'Zs':
    return ' '
  if char in _HYPHENS:
    return '-'
  code = ord(char)
  if 0xFF01 <= code <= 0xFF5E and char != '，':  # that one ends a number
    char = chr(code - 0xFEE0)
  return char.lower() if char.isascii() else char


def _word(char):
  if unicodedata.category(char) == 'Cf':
    return ''
  if char.isspace():
    return ' '
  apart = unicodedata.normalize('NFKD', char).casefold()
  return unicodedata.normalize('NFKD', apart)


class Table(dict):
  """Character -> the characters that stand for it; made as they are needed.

  `joins_spaces`: any white space is a space, and several are one.
  """

  def __init__(self, fold, joins_spaces):
    super().__init__()
    self._fold, self.joins_spaces = fold, joins_spaces

  def __missing__(self, char):
    self[char] = self._fold(char)
    return self[char]

  def of(self, text):
    """Returns the folded text."""
    folded = FoldedText(self)
    folded.append(text)
    return folded.text


NUMBERS = Table(_plain, joins_spaces=False)
WORDS = Table(_word, joins_spaces=True)


class FoldedText:
  """The last part of a text that grows, folded; places are those of the whole text."""

  def __init__(self, table):
    self._table, self._raw_end = table, 0
    self.text = ''
    self._places = array.array('q')
    """Of each folded character, the original one's place."""

  @property
  def raw_end(self):
    """The length of the original text so far."""
    return self._raw_end

  def append(self, piece):
    """Reads the next piece of the original."""
    start, self._raw_end = self._raw_end, self._raw_end + len(piece)
    is_plain = piece.isascii() and not (
      self._table.joins_spaces and (_RARE_SPACES.search(self.text[-1:] + piece))
    )
    if is_plain:
      self.text += piece.lower()
      self._places.extend(range(start, self._raw_end))
      return
    parts = [self._table[char] for char in piece]
    if self._table.joins_spaces:
      before = [self.text[-1:], *parts]
      parts = [
        '' if part == ' ' and last == ' ' else part
        for last, part in zip(_last_seen(before), parts, strict=True)
      ]
    self.text += ''.join(parts)
    for place, part in enumerate(parts, start):
      if len(part) == 1:
        self._places.append(place)
      else:
        self._places.extend([place] * len(part))

  def place(self, index):
    """Returns where in the original the folded character `index` stands."""
    return self._places[index] if index < len(self.text) else self._raw_end

  def span(self, start, end):
    """Returns (from, to) in the original of folded characters."""
    return self.place(start), self._places[end - 1] + 1

  def drop(self, count):
    """Forgets the first `count` folded characters."""
    if count > 0:
      self.text = self.text[count:]
      del self._places[:count]


_RARE_SPACES = re.compile(r'[^\S ]|  ')


def _last_seen(parts):
  """Yields for each part but the first the last character before it."""
  last = ''
  for part in parts[:-1]:
    last = part[-1:] or last
    yield last
