"""Where a passage says what a model wrote: word for word, or in the nearest words."""

import collections
import re

from gpt_jax.evaluation import answer_scores, chinese

_WORD = re.compile(r"[^\W_]+(?:[-'’.,:/][^\W_]+)*%?")
_TOKEN = re.compile(rf'[{chinese.LETTER}]|[^\W{chinese.LETTER}]+')
_BORDER = re.compile(r'[.!?;。！？；]\s|\n')
WORDS = {'en': _WORD, 'zh': _TOKEN}
"""Language -> what a span is made of."""


def find(said, text, language):
  """Returns (start, end) of where `text` says `said`; None for no word of it.

  Where it stands there, whatever the case and spaces: that. Else the words of one
  sentence with the highest token F1, as answers are scored; of equal ones the first.
  """
  words = [one[0] for one in WORDS[language].finditer(said)]
  if not words:
    return None
  return _literal(words, said, text) or _nearest(said, text, language)


def _literal(words, said, text):
  first, last = said.index(words[0]), said.rindex(words[-1]) + len(words[-1])
  parts = map(re.escape, said[first:last].split())
  if chinese.is_chinese([said]):
    pattern = r'\s*'.join(parts)
  else:
    pattern = r'(?<![^\W_])' + r'\s+'.join(parts) + r'(?![^\W_])'
  found = re.search(pattern, text, re.IGNORECASE)
  return found.span() if found else None


def _nearest(said, text, language):
  tokens = answer_scores.TOKENS[language]
  wanted = collections.Counter(tokens(said))
  most = wanted.total()
  found, best = None, 0.0
  for words in _sentences(text, language):
    rows = [tokens(text[start:end]) for start, end in words]
    shared = [i for i, row in enumerate(rows) if wanted.keys() & set(row)]
    for i, first in enumerate(shared):
      got = collections.Counter()
      place = first
      for last in shared[i:]:
        for row in rows[place : last + 1]:
          got.update(row)
        place = last + 1
        score = 2 * (wanted & got).total() / (most + got.total())
        if score > best:
          found, best = (words[first][0], words[last][1]), score
  return found


def _sentences(text, language):
  """Yields [(start, end), ...] of the words of each sentence."""
  words, before = [], 0
  for found in WORDS[language].finditer(text):
    if words and _BORDER.search(text, before, found.start()):
      yield words
      words = []
    words.append(found.span())
    before = found.end()
  if words:
    yield words
