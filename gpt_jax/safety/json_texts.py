"""Texts of a JSON document changed where they stand: all else keeps its bytes."""

import json
import re

# Possessive: a string of megabytes is passed once, without a stack of ways back.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}:,]')
_SURROGATE = re.compile('[\ud800-\udfff]')


def change(document, change_text, fields=()):
  """Returns a JSON document, a str, with each text replaced by `change_text(text)`.

  Keys and numbers stay, and so do the very characters of all that does not change.
  `document` has to be JSON. `fields`: only texts within these keys of its object, or of
  the objects in its list; none: all texts.
  """
  pieces, place = [], 0
  for start, end in _texts(document, set(fields)):
    written = document[start:end]
    text = json.loads(written, strict=False)
    changed = change_text(text)
    if changed != text:
      pieces += document[place:start], _as_written(changed, written)
      place = end
  return ''.join([*pieces, document[place:]])


def _texts(document, fields):
  """Yields (start, end) of the values that are texts, quotes included."""
  opened, field, is_key = [], None, False
  for found in _TOKEN.finditer(document):
    token = found[0]
    if token in '{[':
      opened.append(token)
      is_key = token == '{'
    elif token in '}]':
      opened.pop()
    elif token == ':':
      is_key = False
    elif token == ',':
      is_key = opened[-1] == '{'
    elif not is_key:
      if not fields or field in fields:
        yield found.span()
    elif fields and opened in (['{'], ['[', '{']):
      field = json.loads(token, strict=False)


def _as_written(text, like):
  """Returns a text as JSON, with escapes for what is not ASCII where `like` has none.

  Half a surrogate pair has to be escaped: UTF-8 has none.
  """
  is_ascii = like.isascii() or bool(_SURROGATE.search(text))
  return json.dumps(text, ensure_ascii=is_ascii)
