"""From a document of a source to tokens, and to fields aligned with them.

A document is one of
  {'text': str}                                    all of it bears loss
  {'tokens': int array [n]}                        the same, already ids
  {'prompt': str, 'response': str}                 the response does, and its end token
  {'parts': [(str or Special, bears_loss), ...]}   a template of several turns
and has, where its source declares the field, `label: int` (of field `labels`) or the
field itself: an int array [n] beside `tokens`. Each string is tokenized by itself; the
end token bears the loss of the last part, and the label.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import encodings, fields

_KINDS = ('text', 'tokens', 'prompt', 'parts')


@dataclasses.dataclass(frozen=True)
class Special:
  """A special token by its name, in the `parts` of a document.

  Text never becomes one: a user who types `<|end|>` gets its characters.
  """

  name: str


@dataclasses.dataclass(frozen=True)
class Piece:
  """A part of a document that is tokenized by itself."""

  content: str | np.ndarray  # text or ids
  bears_loss: bool = True
  label: int | None = None  # of the whole document
  given: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # field -> values


def pieces(source, i, tokenizer):
  """Yields document `i` of `source` in Pieces. Raises DataError, naming it."""
  if not source.fields:
    for content in source.pieces(i):
      yield Piece(content)
    return
  where = source.place(i) or f'document {i}'
  yield from pieces_of(source[i], source.fields, source.num_labels, where, tokenizer)


def pieces_of(document, names, num_labels, where, tokenizer):
  """Yields a document with the fields `names` in Pieces; DataError, saying `where`."""
  _check(document, names, num_labels, where)
  given = {name: document[name] for name in names if name in document}
  for part, bears_loss in _parts(document):
    if isinstance(part, Special):
      try:
        part = np.array([tokenizer.special_id(part.name)], np.int32)
      except DataError as error:
        raise DataError(f'{where}: {error}') from error
    yield Piece(part, bears_loss, document.get('label'), given)


def texts(source, i):
  """Yields the text of document `i`, for a tokenizer to learn from."""
  parts = (part for part, _ in _parts(source[i])) if source.fields else source.pieces(i)
  for part in parts:
    if isinstance(part, str):
      encodings.encode(part, source.place(i) or f'document {i}')  # raises by name
      yield part


def is_empty(source, i):
  """Returns whether document `i` has no token, so that no store holds it."""
  if not source.fields:
    return not any(map(len, source.pieces(i)))
  parts = _parts(source[i])
  return not any(isinstance(part, Special) or len(part) for part, _ in parts)


def _parts(document):
  """Returns [(text, ids or Special, whether it bears loss)] of a document."""
  if 'parts' in document:
    return document['parts']
  if 'prompt' in document:
    return [(document['prompt'], False), (document['response'], True)]
  return [(document['tokens'] if 'tokens' in document else document['text'], True)]


def _check(document, names, num_labels, where):
  kinds = [kind for kind in _KINDS if kind in document]
  if len(kinds) != 1 or ('prompt' in document) != ('response' in document):
    raise DataError(
      f'{where}: has {", ".join(document)}; expected one of text, tokens, parts, or'
      ' prompt and response.'
    )
  if kinds[0] in ('prompt', 'parts') and 'loss_mask' not in names:
    raise DataError(
      f"{where}: has {kinds[0]!r}, but its source's fields={names} lack 'loss_mask'."
    )
  if 'label' in document and 'labels' not in names:
    raise DataError(f"{where}: has 'label', but fields={names} lack 'labels'.")
  label = document.get('label', 0)
  if label < 0 or (num_labels and label >= num_labels):
    known = f'0 to {num_labels - 1}' if num_labels else '0 or more'
    raise DataError(f'{where}: label={label}; expected {known}.')
  for name in names:
    if name in document:
      if 'tokens' not in document or len(document[name]) != len(document['tokens']):
        raise DataError(
          f'{where}: field {name!r} has {len(document[name])} values; expected one for'
          " each of 'tokens'."
        )
    elif fields.field(name).absent is None:
      raise DataError(f'{where}: no field {name!r}, which its source declares.')


def aligned(name, lengths, has_end, has_begin=False):
  """Returns the values of field `name` for the tokens of one document.

  Args:
    lengths: [(Piece, its number of tokens)] of the whole document.
    has_end: whether an end token follows, which bears the loss of the last piece and
      the label.
    has_begin: whether a begin token comes first, which has neither.
  """
  total = sum(count for _, count in lengths) + has_end
  last, _ = lengths[-1]
  if name in last.given:
    values = np.asarray(last.given[name])
    end = values[-1] if name == 'loss_mask' else fields.padding(name)
    values = np.append(values, end) if has_end else values
  else:
    values = _MADE[name](lengths, total)
  if has_begin:
    values = np.insert(values, 0, fields.padding(name))
  return values.astype(fields.field(name).dtype)


def _loss_mask(lengths, total):
  mask = np.full(total, lengths[-1][0].bears_loss)
  first = 0
  for piece, count in lengths:
    mask[first : first + count] = piece.bears_loss
    first += count
  return mask


def _labels(lengths, total):
  labels = np.full(total, fields.padding('labels'))
  label = lengths[-1][0].label
  if label is not None:
    labels[-1] = label
  return labels


_MADE = {'loss_mask': _loss_mask, 'labels': _labels}
