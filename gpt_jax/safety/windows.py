"""Cuts a text that grows into windows, always at the same places.

Models read a window: a part of a text that ends with a sentence, or after so many
characters where no sentence ends before.
"""

import re

# A sentence ends with a line, with a mark of Chinese, or with one of ours and a space.
_END = re.compile(r'\n+|[。！？；][”’」』）]*|[.!?]+["\')\]]*(?=\s)')

_LETTERS = re.compile(r'[^\W\d_]+$')
_TITLES = ('Mr', 'Mrs', 'Ms', 'Dr', 'St', 'Prof')
_LONGEST = max(map(len, _TITLES)) + 1


class Windows:
  """Windows of at least `least` characters where sentences allow, at most `most`."""

  def __init__(self, most, least=1):
    self._most, self._least = most, least
    self._text, self._start = '', 0

  @property
  def start(self):
    """Where the window begins that is not complete yet."""
    return self._start

  def feed(self, piece):
    """Returns [(start, text)] of the windows that are complete."""
    self._text += piece
    return self._cut(is_last=False)

  def finish(self):
    """Returns the last windows: the text has ended."""
    return self._cut(is_last=True)

  def _cut(self, is_last):
    found, begin = [], 0
    while begin < len(self._text):
      end = self._window_end(begin, is_last)
      if end is None:
        break
      found.append((self._start + begin, self._text[begin:end]))
      begin = end
    self._text, self._start = self._text[begin:], self._start + begin
    return found

  def _window_end(self, begin, is_last):
    """Returns where the window from `begin` ends, None where it is open.

    The two characters after its longest form are known then.
    """
    text, most = self._text, begin + self._most
    is_complete = is_last or len(text) > most + 1
    for mark in _END.finditer(text, begin, most):
      if mark.end() >= len(text) and not is_last:
        return None  # the mark may go on
      if mark[0][0] == '.' and _is_short(text[begin : mark.start()][-_LONGEST:]):
        continue
      if mark.end() - begin >= self._least:
        return mark.end()
    if not is_complete:
      return None
    if len(text) <= most:
      return len(text)
    space = text.rfind(' ', begin + self._most // 2, most)
    return space + 1 if space != -1 else most


def _is_short(text):
  """Returns whether a text ends with an initial or a title, after which names stand."""
  word = _LETTERS.search(text)
  return bool(word) and (
    word[0] in _TITLES or (len(word[0]) == 1 and word[0].isupper())
  )
