"""Fields of records that tasks know, and what they hold.

classification: text, label; pairs: text, text_b, label; ner: words, tags; relations:
text, head, tail, label; qa: context, question, answers; seq2seq: source, targets;
dialogue: messages; choice: prompt, choices, label; recommendation: history, candidate,
label.
"""

import hashlib
import json

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import encodings
from gpt_jax.examples.record import shown

TEXTS = ('text', 'text_b', 'context', 'question', 'source', 'candidate')
LISTS = ('words', 'tags', 'targets', 'choices', 'history')
INPUTS = (
  *('text', 'text_b', 'words', 'context', 'question', 'source', 'messages', 'prompt'),
  *('choices', 'history', 'candidate'),
)
"""Fields that a model reads, never what it is to say."""
GROUPS = {'context': ('title', 'context'), 'candidate': ('user',)}
"""Field -> those by the first of which records stay in one split: the questions of an
article, and the ratings of a user, whose histories tell the labels of each other."""


def check(values, place):
  """Raises DataError where a field of a record does not hold what it should."""
  for name in TEXTS:
    if name in values:
      _check_text(values[name], f'{place}: {name}')
  if 'prompt' in values and not isinstance(values['prompt'], str):
    raise DataError(f'{place}: prompt is {shown(values["prompt"])}; expected text.')
  for name in LISTS:
    if name in values:
      is_words = name == 'words'  # U+3000 is one, in Chinese
      _check_list(values[name], f'{place}: {name}', may_be_space=is_words)
  if 'label' in values and values['label'] in ('', None):
    raise DataError(
      f'{place}: label is empty; expected a class. Mend the example; a file without'
      ' labels is none of task.files, but for `gpt-jax predict --input=FILE`.'
    )
  words, tags = values.get('words'), values.get('tags')
  if words is not None and tags is not None and len(words) != len(tags):
    raise DataError(
      f'{place}: {len(words)} words and {len(tags)} tags; expected a tag for each word.'
    )


def _check_text(found, what):
  if not isinstance(found, str):
    raise DataError(f'{what} is {shown(found)}; expected text (task.columns).')
  if not found.strip():
    raise DataError(f'{what} is empty; expected text. Mend or delete the example.')
  encodings.encode(found, what)  # JSON may have half a character


def _check_list(found, what, may_be_space=False):
  if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
    raise DataError(f'{what} is {shown(found)}; expected a list of texts.')
  if not found:
    raise DataError(f'{what} is empty; expected at least one text.')
  for one in found:
    if not (may_be_space and one.isspace()):
      _check_text(one, what)


def inputs(record):
  """Returns {field: what a model reads of it}, without labels and answers.

  Of messages only those that are not the assistant's. Raises ConfigError for a record
  that has no such field.
  """
  values = record.values
  found = {name: values[name] for name in INPUTS if name in values}
  if not found:
    raise ConfigError(
      f'{record.place}: none of the fields {", ".join(INPUTS)}; there are'
      f' {", ".join(values) or "none"}. Map one by task.columns, as text=NAME.'
    )
  if 'messages' in found:
    found['messages'] = [
      one['content'] for one in found['messages'] if one['role'] != 'assistant'
    ]
  return found


def input_digest(record):
  """Returns the sha256 of what a model reads of a record.

  Equal for texts that differ in case and white space alone.
  """
  return _digest(_json(_folded(inputs(record))))


def group_texts(record):
  """Returns what keeps records together, their inputs or their group, as JSON, twice.

  As it is, and without case and runs of white space.
  """
  found = inputs(record)
  for field, names in GROUPS.items():
    if field in found:
      found = next(
        ({name: record.values[name]} for name in names if record.values.get(name)),
        found,
      )
  return _json(found), _json(_folded(found))


def share(text):
  """Returns a hash of a text as a number, 0 to 1, the same on every machine."""
  return int.from_bytes(_digest(text)[:8], 'big') / 2**64


def _json(found):
  return json.dumps(found, sort_keys=True, ensure_ascii=False)


def _digest(text):
  return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).digest()


def _folded(found):
  """Returns plain JSON values with texts without case and runs of white space."""
  if isinstance(found, str):
    return ' '.join(found.casefold().split())
  if isinstance(found, dict):
    return {name: _folded(one) for name, one in found.items()}
  if isinstance(found, list | tuple):
    return [_folded(one) for one in found]
  return found
