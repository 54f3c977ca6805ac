"""Finds the words of a list in a text that comes in pieces, however they are written.

Letters are compared without case, width and form (`folding.WORDS`). A word in a script
with spaces is found as a whole word, one in Chinese, Japanese, Thai or Korean anywhere.
The automaton is that of Aho and Corasick (1975).
"""

import re
import unicodedata

from gpt_jax.safety import folding
from gpt_jax.safety.span_filter import Span

_UNSPACED = (
  (0x0E00, 0x0EFF), (0x1000, 0x11FF), (0x1780, 0x17FF), (0x2E80, 0x9FFF),
  (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Thai, Lao; Burmese, Korean; Khmer; Chinese, Japanese; Korean; Chinese, twice."""


def _is_letter(char):
  """Returns whether `char` is part of a word, in a script that puts spaces between."""
  if unicodedata.category(char)[0] not in 'LNM':  # letters, digits, accents
    return False
  code = ord(char)
  return not any(first <= code <= last for first, last in _UNSPACED)


class WordList:
  """An automaton of words; detectors share it. Empty words are left out."""

  def __init__(self, words):
    folded = {folding.WORDS.of(word).strip() for word in words}
    self.words = sorted(folded - {''})
    self.children: list[dict[str, int]] = [{}]
    self.length = [0]
    """Of the word that ends at a node, 0 for none."""
    self.depth = [0]
    for word in self.words:
      self._add(word)
    self.shorter = [0] * len(self.children)
    """The node of the longest beginning of a word that ends where this one does."""
    self.is_end = [length > 0 for length in self.length]
    self._link()
    firsts = ''.join(re.escape(char) for char in self.children[0])
    self.first_char = re.compile(f'[{firsts}]') if firsts else re.compile('(?!)')

  def _add(self, word):
    node = 0
    for char in word:
      if char not in self.children[node]:
        self.children[node][char] = len(self.children)
        self.children.append({})
        self.length.append(0)
        self.depth.append(self.depth[node] + 1)
      node = self.children[node][char]
    self.length[node] = len(word)

  def _link(self):
    queue = list(self.children[0].values())
    for node in queue:  # grows: nodes by depth
      for char, child in self.children[node].items():
        self.shorter[child] = self.next(self.shorter[node], char)
        self.is_end[child] |= self.is_end[self.shorter[child]]
        queue.append(child)

  def next(self, node, char):
    """Returns the node after one more character."""
    while node and char not in self.children[node]:
      node = self.shorter[node]
    return self.children[node].get(char, 0)

  def ends(self, node):
    """Yields the lengths of the words that end at a node, longest first."""
    while self.is_end[node]:
      if self.length[node]:
        yield self.length[node]
      node = self.shorter[node]


class WordDetector:
  """A Detector of the words of a WordList."""

  def __init__(self, words, name, action, label):
    self._words, self._what = words, (name, action, label)
    self._folded = folding.FoldedText(folding.WORDS)
    self._next, self._node = 0, 0  # the folded character to be read, and the node there
    self._least = 0  # where a word may begin: what is before has been shown
    self._open: tuple[int, int] | None = None
    """A word that ends before the next character, unless that is a letter."""

  def feed(self, piece):
    self._folded.append(piece)
    found = self._read()
    first = self._first_open()
    place = self._folded.place(first)
    # One character more than is open, for the letter or space before it.
    dropped = max(0, first - 1)
    self._folded.drop(dropped)
    self._next -= dropped
    self._least = first - dropped
    if self._open:
      self._open = self._open[0] - dropped, self._open[1] - dropped
    return found, place

  def finish(self):
    if self._open is None:
      return []
    found, self._open = self._span(*self._open), None
    return [found]

  def _read(self):
    """Returns the Spans of words that end in what was not read, in order."""
    words, text, found = self._words, self._folded.text, []
    place, node = self._next, self._node
    while place < len(text):
      if not node and self._open is None:
        first = words.first_char.search(text, place)
        if first is None:
          place = len(text)
          break
        place = first.start()
      char = text[place]
      if self._open is not None:
        if not _is_letter(char):
          found.append(self._span(*self._open))
        self._open = None
      node = words.next(node, char)
      place += 1
      if words.is_end[node]:
        found += self._ended(text, place, node)
    self._next, self._node = place, node
    return found

  def _ended(self, text, end, node):
    """Returns the Span of the longest word that ends here, or keeps it open."""
    for length in self._words.ends(node):
      start = end - length
      if start >= self._least and self._begins_word(text, start):
        if not _is_letter(text[end - 1]):
          return [self._span(start, end)]
        # Of the shorter ones none covers more, and each ends in the same letter.
        self._open = start, end
        return []
    return []

  def _begins_word(self, text, start):
    is_inside = start and _is_letter(text[start - 1])
    return not (is_inside and _is_letter(text[start]))

  def _first_open(self):
    """Returns the first folded character that a word may still begin with."""
    node, text, words = self._node, self._folded.text, self._words
    while node:
      start = self._next - words.depth[node]
      if start >= self._least and self._begins_word(text, start):
        break
      node = words.shorter[node]
    first = self._next - words.depth[node]
    return min(first, self._open[0]) if self._open else first

  def _span(self, start, end):
    name, action, label = self._what
    return Span(*self._folded.span(start, end), 0, name, action, label)
