"""The fields of a record as text, by the names that prompt templates may use."""

from collections.abc import Mapping
from typing import Any

from gpt_jax.core.errors import DataError

LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'

FIELDS = (
  'text', 'text_b', 'label', 'words', 'tags', 'head', 'tail', 'id', 'title', 'context',
  'question', 'answers', 'source', 'targets', 'prompt', 'choices', 'user', 'history',
  'candidate', 'item', 'instruction', 'input', 'output',
)  # fmt: skip
"""Fields of the tasks' records that are text, or can be printed as text."""

DERIVED = {
  'entities': ('words', 'tags'),
  'letter': ('choices', 'label'),
  'choice': ('choices', 'label'),
}
"""Further placeholders -> the fields they are made of."""

_NOTHING = {'zh': '无'}
_NO_SPACES = ('zh', 'ja')


def value(name, values: Mapping[str, Any], language='en'):
  """Returns the text of placeholder `name` for a record's `values`.

  `answers` and `targets` give the first of them, `history` titles with semicolons,
  `choices` lines with letters, `head` and `tail` the characters of their span.
  `entities` are those of BIO or BMES `tags`, as 'PER: Ada; LOC: Rome', `letter` and
  `choice` the right one of `choices`. Raises KeyError for a field that `values` lacks,
  DataError for one of another form.
  """
  for field in DERIVED.get(name, (name,)):
    if field not in values:
      raise KeyError(field)
  printer = _PRINTERS.get(name)
  try:
    return printer(values, language) if printer else _plain(values[name])
  except (TypeError, ValueError, IndexError, AttributeError) as error:
    shown = {field: values[field] for field in DERIVED.get(name, (name,))}
    text = repr(shown) if len(repr(shown)) <= 200 else repr(shown)[:200] + '...'
    raise DataError(f'{{{name}}} cannot be printed from {text}: {error}.') from error


def _plain(content):
  if content is None or isinstance(content, dict | list | tuple):
    raise TypeError('expected a text or a number')
  return str(content)


def joined(words, language):
  """Returns words as a text: with spaces, or without in a language that has none."""
  return ('' if language in _NO_SPACES else ' ').join(words)


def entities(words, tags, language='en'):
  """Returns [(kind, text)] of tags `B-`, `I-`, `O`, and of BMES's `M-`, `E-`, `S-`."""
  found = []
  for word, tag in zip(words, tags, strict=True):
    if tag == 'O':
      found.append(None)
      continue
    position, _, kind = tag.partition('-')
    is_inside = position in 'IME' and found and found[-1] and found[-1][0] == kind
    if is_inside:
      found[-1][1].append(word)
    else:
      found.append((kind, [word]))
  return [(kind, joined(parts, language)) for kind, parts in filter(None, found)]


def _entities(values, language):
  found = entities(values['words'], values['tags'], language)
  listed = '; '.join(f'{kind}: {text}' for kind, text in found)
  return listed or _NOTHING.get(language, 'none')


def parse_entities(text):
  """Returns the [(kind, text)] that a text such as `{entities}` lists, each once."""
  found = []
  for part in text.split('\n')[0].split(';'):
    kind, colon, name = part.partition(':')
    entity = (kind.strip(), name.strip())
    if colon and all(entity) and entity not in found:
      found.append(entity)
  return found


def _choices(values, language):
  choices = values['choices']
  if len(choices) > len(LETTERS):
    raise ValueError(f'{len(choices)} choices for {len(LETTERS)} letters')
  lettered = zip(LETTERS, choices, strict=False)
  return '\n'.join(f'{letter}. {_plain(choice)}' for letter, choice in lettered)


def _right(values):
  """Returns the number of the right choice."""
  number, count = int(values['label']), len(values['choices'])
  if not 0 <= number < count:
    raise ValueError(f'the label is {number}; expected 0 to {count - 1}')
  return number


def _first(field, key=None):
  def printer(values, language):
    content = values[field]
    if isinstance(content, str):
      return content
    if not content:
      raise ValueError('expected at least one')
    first = content[0]
    return _plain(first[key] if isinstance(first, dict) else first)

  return printer


def _span(field):
  def printer(values, language):
    span = values[field]
    if isinstance(span, str):
      return span
    start, end = span
    return values['text'][start:end]

  return printer


_PRINTERS = {
  'words': lambda values, language: joined(values['words'], language),
  'tags': lambda values, language: ' '.join(values['tags']),
  'entities': _entities,
  'choices': _choices,
  'letter': lambda values, language: LETTERS[_right(values)],
  'choice': lambda values, language: _plain(values['choices'][_right(values)]),
  'answers': _first('answers', 'text'),
  'targets': _first('targets'),
  'head': _span('head'),
  'tail': _span('tail'),
  'history': lambda values, language: '; '.join(map(_plain, values['history'])),
}
