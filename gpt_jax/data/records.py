"""Which fields of a record make a document: text, or prompt and response; its label.

Shared by the sources whose records have named fields (jsonl, array_record, tfds).
"""

from typing import Any

from gpt_jax.core.errors import ConfigError, DataError, Problem, require_none
from gpt_jax.data import encodings

SOURCES = ('jsonl', 'array_record', 'tfds')


def problems(data):
  """Returns the Problems that fields of a DataConfig for records make together."""
  found = []
  for here, there in (
    ('prompt_field', 'response_field'),
    ('response_field', 'prompt_field'),
  ):
    if getattr(data, here) and not getattr(data, there):
      text = f'={getattr(data, here)!r}: needs data.{there}, the name of the other part'
      found.append(Problem(f'data.{here}', text))
  names = data.label_names
  if len(set(names)) < len(names):
    found.append(Problem('data.label_names', f'={names}: a name appears twice'))
  if names and data.num_labels not in (None, len(names)):
    text = f'={data.num_labels}: data.label_names has {len(names)}; leave it None'
    found.append(Problem('data.num_labels', text))
  if data.label_field and data.source in ('jsonl', 'array_record'):
    if not names and data.num_labels is None:
      text = f'={data.label_field!r}: needs data.num_labels for labels 0, 1, ..., or'
      text += ' data.label_names=NAME,NAME for text, in the order of their ids'
      found.append(Problem('data.label_field', text))
  return found


def declared_fields(data):
  """Returns the fields that documents of a DataConfig have."""
  mask = ('loss_mask',) if data.prompt_field else ()
  return mask + (('labels',) if data.label_field else ())


def check_has_records(data, source):
  """Raises ConfigError where a source without records is asked for their fields."""
  if source.fields or not declared_fields(data):
    return
  name = 'prompt_field' if data.prompt_field else 'label_field'
  raise ConfigError(
    f'data.{name}={getattr(data, name)!r}: data.source={data.source!r} has no records'
    f' with fields; use one of {", ".join(SOURCES)}, or set data.{name} to "" there.'
  )


class Record:
  """Makes documents (see `documents.py`) of records, which are dicts."""

  def __init__(self, data, label_names=(), num_labels=None):
    require_none(problems(data))
    encodings.check(data)
    self._data, self.encoding = data, data.encoding
    self.fields = declared_fields(data)
    names = data.label_names or label_names
    self._ids = {name: i for i, name in enumerate(names)}
    self._count = data.num_labels or len(names) or num_labels or 0
    self.num_labels = self._count if data.label_field else None
    self.first_field = data.prompt_field or data.text_field
    self.fingerprint = {'text_field': data.text_field}
    self.fingerprint |= encodings.fingerprint(data.encoding)
    for name in ('prompt_field', 'response_field', 'label_field'):
      if getattr(data, name):
        self.fingerprint[name] = getattr(data, name)
    if data.label_field:
      self.fingerprint |= {'num_labels': self.num_labels, 'label_names': repr(names)}

  def first_text(self, record, place):
    """Returns the text, or the prompt: copies of it belong to one split."""
    name = 'prompt_field' if self._data.prompt_field else 'text_field'
    return self._text(record, name, place)

  def document(self, record, place):
    """Returns the document of a record. Raises DataError, naming `place`."""
    if self._data.prompt_field:
      options = {'prompt': 'prompt_field', 'response': 'response_field'}
    else:
      options = {'text': 'text_field'}
    document: dict[str, Any] = {
      name: self._text(record, option, place) for name, option in options.items()
    }
    if self._data.label_field:
      document['label'] = self._label(record, place)
    return document

  def _text(self, record, option, place):
    name = getattr(self._data, option)
    text = self._value(record, option, place)
    if isinstance(text, bytes):  # TFDS has them
      return encodings.decode(text, self.encoding, place)
    if not isinstance(text, str):
      raise DataError(
        f'{place}: data.{option}={name!r} is {type(text).__name__}, expected text.'
      )
    encodings.encode(text, f'{place}: data.{option}={name!r}')  # JSON may not be UTF-8
    return text

  def _label(self, record, place):
    value = self._value(record, 'label_field', place)
    named = f'{place}: data.label_field={self._data.label_field!r} is {value!r}'
    if isinstance(value, str):
      if value not in self._ids:
        raise DataError(
          f'{named}; expected one of data.label_names'
          f' ({", ".join(self._ids) or "none are declared"}).'
        )
      return self._ids[value]
    if isinstance(value, bool) or not hasattr(value, '__index__'):
      raise DataError(f'{named}; expected a whole number or text.')
    if not 0 <= value < self._count:
      raise DataError(f'{named}; expected 0 to {self._count - 1}.')
    return int(value)

  def _value(self, record, option, place):
    name = getattr(self._data, option)
    if name not in record:
      raise DataError(
        f'{place}: no field {name!r}; it has {", ".join(sorted(record))}: set'
        f' data.{option} to one of them.'
      )
    return record[name]
