"""Texts translated there and back by two models (Sennrich et al., arXiv:1511.06709).

What was made is kept in a file, a JSON object a line, and made once.
"""

import json
import pathlib

from gpt_jax.core.errors import DataError, StorageError


def back_translated(texts, forward, back, cache, *, models, batch_size=32):
  """Returns each text translated there and back, in order.

  Args:
    forward, back: `(list of texts) -> list of texts`, of any model.
    cache: a file that is read before and added to after each batch, so that an
      interrupted call goes on where it ended.
    models: names both models, and how they decode; lines of others are left alone.

  A text whose translation is empty comes back as itself. Raises DataError for a damaged
  file and for a model that returns another number of texts.
  """
  cache = pathlib.Path(cache)
  known = _read(cache, models)
  missing = [text for text in dict.fromkeys(texts) if text not in known]
  for first in range(0, len(missing), batch_size):
    batch = missing[first : first + batch_size]
    between = _translated(forward, batch, 'forward')
    found = _translated(back, between, 'back')
    lines = [
      {'models': models, 'text': text, 'between': there, 'back': again}
      for text, there, again in zip(batch, between, found, strict=True)
    ]
    _append(cache, lines)
    known |= zip(batch, found, strict=True)
  return [known[text] if known[text].strip() else text for text in texts]


def _translated(translate, texts, which):
  found = list(translate(texts))
  if len(found) != len(texts) or not all(isinstance(each, str) for each in found):
    raise DataError(
      f'{which}: returned {len(found)} translations of {len(texts)} texts; expected one'
      ' text for each.'
    )
  return found


def _read(cache, models):
  """Returns {text: translated there and back} of a file, {} of one that is missing."""
  if not cache.exists():
    return {}
  content = cache.read_bytes()
  whole = content[: content.rfind(b'\n') + 1]
  if len(whole) < len(content):  # it ended within a line: that batch is made again
    cache.write_bytes(whole)
  known = {}
  for number, line in enumerate(whole.splitlines(), start=1):
    try:
      made = json.loads(line)
      if made['models'] == models:
        known[str(made['text'])] = str(made['back'])
    except (ValueError, KeyError, TypeError) as error:
      raise DataError(
        f'{cache}, line {number}: {error!r}; expected a JSON object with models, text'
        ' and back. Delete the file: it is made again.'
      ) from error
  return known


def _append(cache, lines):
  text = ''.join(json.dumps(line, ensure_ascii=False) + '\n' for line in lines)
  try:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with open(cache, 'ab') as file:
      file.write(text.encode('utf-8', 'surrogatepass'))
  except OSError as error:
    raise StorageError(
      f'{cache}: cannot be written: {error.strerror}; give another cache.'
    ) from error
