"""Prompt templates by name, from the .yaml files beside this one; or a user's own text.

A file is a family of tasks: its `task`, an `example` of its records for each language
(a template may have another), and `templates` by name. The wording is our own.
"""

import dataclasses
import functools
import pathlib
from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.templates import printed
from gpt_jax.templates.template import PromptTemplate, check, names_in

OWN = 'own'
_FOLDER = pathlib.Path(__file__).parent


def list_templates():
  """Returns all named PromptTemplates, by family of tasks."""
  return list(_named().values())


def get(name_or_text, *, target='', verbalizers=None, language='en', fields=None):
  """Returns the PromptTemplate of that name, or that of a text with {placeholders}.

  Args:
    target: of a text, what follows it; of a name, what to write instead of its own.
    verbalizers: {label: word, or list of words}, instead of its own.
    language: of a text.
    fields: those that the records have; None: any that a task knows.

  Raises ConfigError for an unknown name or placeholder, with the nearest one.
  """
  named = _named()
  changed: dict[str, Any] = {'target': target} if target else {}
  if verbalizers is not None:
    changed |= {'verbalizers': _verbalizers(verbalizers), 'aliases': {}}
  if name_or_text in named:
    template = dataclasses.replace(named[name_or_text], **changed)
  elif names_in(name_or_text):
    template = PromptTemplate(OWN, name_or_text, language=language, **changed)
  else:
    hint = nearest(name_or_text, named)
    raise ConfigError(
      f'template={name_or_text!r}: neither a name nor a text with {{placeholders}};'
      ' gpt-jax templates lists the names'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  return check(template, printed.FIELDS if fields is None else fields)


def example_of(template):
  """Returns the values of a record that a named template can be shown on."""
  return _examples()[template.name]


@functools.cache
def _files():
  import yaml

  paths = sorted(_FOLDER.glob('*.yaml'))
  return [yaml.safe_load(path.read_text(encoding='utf-8')) for path in paths]


@functools.cache
def _named():
  return {
    name: PromptTemplate(
      name=name,
      task=file['task'],
      text=fields['text'],
      target=fields['target'],
      language=fields.get('language', 'en'),
      verbalizers=_verbalizers(fields.get('verbalizers', {})),
      aliases=fields.get('aliases', {}),
    )
    for file in _files()
    for name, fields in file['templates'].items()
  }


@functools.cache
def _examples():
  return {
    name: fields.get('example', file['example'].get(fields.get('language', 'en')))
    for file in _files()
    for name, fields in file['templates'].items()
  }


def _verbalizers(given):
  """Returns {label: words} with each label a text and each words a tuple."""
  made = {
    str(label): (words,) if isinstance(words, str) else tuple(map(str, words))
    for label, words in given.items()
  }
  for label, words in made.items():
    if not words or not all(words):
      raise ConfigError(
        f'verbalizers: label {label!r} has {list(words)}; expected a word, or several.'
      )
  return made
