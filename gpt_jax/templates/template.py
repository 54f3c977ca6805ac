"""A prompt template: text with {placeholders}, what follows it, words for labels."""

import dataclasses
import re
from collections.abc import Mapping

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.registry import nearest
from gpt_jax.templates import printed

_PIECE = re.compile(r'\{\{|\}\}|\{([^{}]*)\}|[{}]')
LABEL = 'label'


@dataclasses.dataclass(frozen=True)
class PromptTemplate:
  """What an example is written as: `text`, and after it `target`.

  In both, `{name}` is a field of the record, `{{` and `}}` are braces. `{label}` is the
  first word of the label's `verbalizers`, the label itself where there are none.
  """

  name: str
  text: str
  target: str = ''
  task: str = ''
  language: str = 'en'
  verbalizers: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """Label as files have it -> the label of the verbalizers."""

  def placeholders(self):
    """Returns the names in text and target, each once, in order."""
    return list(dict.fromkeys(names_in(self.text) + names_in(self.target)))


def names_in(text):
  """Returns the placeholders of `text` in order. Raises ConfigError for lone braces."""
  names = []
  for found in _PIECE.finditer(text):
    if found[0] in ('{{', '}}'):
      continue
    if found[1] is None or not found[1].isidentifier():
      near = text[max(0, found.start() - 20) : found.end() + 20]
      raise ConfigError(
        f'template: {found[0]!r} near {near!r}: expected {{name}}, the name of a field;'
        ' write {{ and }} for braces.'
      )
    names.append(found[1])
  return names


def check(template, fields=printed.FIELDS):
  """Returns `template`. Raises ConfigError for a placeholder that is no field.

  `fields`: those that the records have.
  """
  known = [*fields]
  known += [name for name, of in printed.DERIVED.items() if set(of) <= set(fields)]
  for name in template.placeholders():
    if name not in known:
      hint = nearest(name, known)
      raise ConfigError(
        f'template {template.name!r}: {{{name}}} is no field; expected one of'
        f' {", ".join(known)}' + (f'; did you mean {{{hint}}}?' if hint else '.')
      )
  return template


def require_unanswered(template, target):
  """Returns `template`. Raises ConfigError where its prompt has the answer in it.

  `target`: the field to be predicted; what is made of it counts, too.
  """
  for name in names_in(template.text):
    if target in printed.DERIVED.get(name, (name,)):
      raise ConfigError(
        f'template {template.name!r}: {{{name}}} in the prompt gives the answer away'
        f' (field {target!r}); move it from task.options.template to the target, which'
        ' follows the prompt.'
      )
  return template


def render(template, values, place=''):
  """Returns (prompt, target) of a record's values, a dict by field.

  Nothing within a value is a placeholder. Raises DataError, with `place`, for a field
  that is missing and for a label without a verbalizer.
  """
  return tuple(
    _filled(template, text, values, place) for text in (template.text, template.target)
  )


def prompt_of(template, values, place=''):
  """Returns the prompt alone, of a record whose target need not be known."""
  return _filled(template, template.text, values, place)


def continuations(template, values, place=''):
  """Returns {label: its target} for each verbalized label, of a record's values."""
  return {
    label: _filled(template, template.target, {**values, LABEL: label}, place)
    for label in template.verbalizers
  }


def label_of(template, text):
  """Returns the label whose word a continuation begins with, None for none.

  Case and the space around do not count; of several words the longest does.
  """
  text = text.strip().lower()
  found = [
    (len(word), label)
    for label, words in template.verbalizers.items()
    for word in words
    if text.startswith(word.lower())
  ]
  return max(found, key=lambda each: each[0])[1] if found else None


def _filled(template, text, values, place):
  def fill(found):
    if found[0] in ('{{', '}}'):
      return found[0][0]
    return _value(template, found[1], values, place)

  return _PIECE.sub(fill, text)


def _value(template, name, values, place):
  where = f'{place}: ' if place else ''
  if name == LABEL and name in values and template.verbalizers:
    return _word(template, values[name], where)
  try:
    return printed.value(name, values, template.language)
  except KeyError as error:
    hint = nearest(error.args[0], values)
    raise DataError(
      f'{where}no field {error.args[0]!r}, which {{{name}}} of template'
      f' {template.name!r} needs; the record has {", ".join(values) or "none"}'
      + (f'; is it {hint!r}? Then say so in task.columns.' if hint else '.')
    ) from error
  except DataError as error:
    raise DataError(f'{where}template {template.name!r}: {error}') from error


def canonical_label(template, label):
  """Returns the label of the verbalizers that a file's label means, None for none."""
  key = str(label)
  key = key if key in template.verbalizers else template.aliases.get(key)
  return key if key in template.verbalizers else None


def _word(template, label, where):
  key = canonical_label(template, label)
  if key is None:
    known = [*template.verbalizers, *template.aliases]
    hint = nearest(label, known)
    raise DataError(
      f'{where}label={label!r}: template {template.name!r} has words for'
      f' {", ".join(known)}'
      + (f'; did you mean {hint!r}?' if hint else '; give verbalizers of your own.')
    )
  return template.verbalizers[key][0]
