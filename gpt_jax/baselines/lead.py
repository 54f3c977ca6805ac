"""The first sentences of a text, or lines of a dialogue, as its summary."""

import re

_TITLES = r'(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bProf)(?<!\b[A-Z])'
_END = re.compile(
  # English ends need white space after them, which tells them from 3.5; Chinese ones
  # do not. Closing quotes and brackets belong to the sentence.
  rf'(?:{_TITLES}\.|[!?…])["\')\]”’]*(?=\s|$)|[。！？]+[”’」』）]*|\n+'
)


def sentences(text):
  """Returns the sentences of an English or Chinese `text`, without space around them.

  A line break ends one. `.` does not after an initial or a title such as Mr.
  """
  return [text[start:end] for start, end in sentence_spans(text)]


def sentence_spans(text):
  """Returns (start, end) of each sentence of `text`, end exclusive."""
  borders = [0, *(found.end() for found in _END.finditer(text)), len(text)]
  spans = []
  for start, end in zip(borders, borders[1:], strict=False):
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    if piece.strip():
      spans.append((start, start + len(piece.strip())))
  return spans


def lead_sentences(sources, count):
  """Returns the first `count` sentences of each source, joined by a space.

  Chinese sentences are joined as they were.
  """
  return [_join(source, sentence_spans(source)[:count]) for source in sources]


def lead_lines(sources, count):
  """Returns the first `count` lines of each source that are not empty, one text each.

  For dialogues with a turn on each line.
  """
  texts = []
  for source in sources:
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    texts.append(' '.join(lines[:count]))
  return texts


def _join(text, spans):
  pieces = []
  for number, (start, end) in enumerate(spans):
    if number and spans[number - 1][1] < start:
      pieces.append(' ')
    pieces.append(text[start:end])
  return ''.join(pieces)
