"""Reads a policy file; all of its mistakes are told at once, each with its place."""

import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.safety import rule_fields
from gpt_jax.safety.rule_fields import Field
from gpt_jax.safety.rules import RULES

ACTIONS = 'refuse', 'redact', 'log'
SIDES = 'prompt', 'answer', 'both'
DEFAULT_REFUSAL = {
  'en': 'I cannot help with that.',
  'zh': '抱歉，这个问题我无法回答。',
}


class Models(NamedTuple):
  """How models are opened, as the caller has it; None: there are none here."""

  open_classifier: Callable[[str, str], Any] | None = None
  """(run, class) -> function from texts to the probability of the class for each."""
  open_names: Callable[[str, tuple[str, ...]], Any] | None = None
  """(run, tags) -> function from a text to the (start, end) of names in it."""


class Rule(NamedTuple):
  """One rule of a policy."""

  name: str
  on: str
  """One of SIDES."""
  action: str
  """One of ACTIONS."""
  refusal: dict[str, str]
  """Language -> what is said instead."""
  make: Any
  """The entry of RULES: `make.detectors(name, action)`."""

  def reads(self, side):
    """Returns whether it looks at prompts or answers."""
    return self.on in (side, 'both')


def _name(value):
  if not isinstance(value, str) or not re.fullmatch(r'[\w.\-]{1,64}', value):
    raise ValueError('letters, digits, - _ and ., at most 64')
  return value


def _refusal(value):
  by_language = {'': value} if isinstance(value, str) else value
  if not isinstance(by_language, dict) or not by_language:
    raise ValueError('a text, or an object from languages to texts')
  for language, said in by_language.items():
    rule_fields.text(said)
    if language and not re.fullmatch('[a-z]{2,3}', language):
      raise ValueError(f'languages such as en and zh, not {language!r}')
  return by_language


_FILE = {
  'refusal': Field(_refusal, default=DEFAULT_REFUSAL),
  'rules': Field(lambda value: value),
}
_RULE = {
  'name': Field(_name),
  'type': Field(rule_fields.choice(*RULES)),
  'on': Field(rule_fields.choice(*SIDES), default='both'),
  'action': Field(rule_fields.choice(*ACTIONS)),
  'refusal': Field(_refusal, default=None),
}


def read(path, models):
  """Returns (Rules, SHA-256 of the file) of a policy file. Raises ConfigError."""
  path = pathlib.Path(path)
  try:
    content = path.read_bytes()
    value = json.loads(content.decode(), object_pairs_hook=_without_doubles)
  except OSError as error:
    raise ConfigError(f'policy {path}: cannot be read: {error}.') from error
  except (ValueError, RecursionError) as error:
    raise ConfigError(f'policy {path}: no JSON: {error}.') from error
  options, mistakes = rule_fields.read_object(value, _FILE, '')
  rules = options.get('rules')
  if 'rules' in options and (not isinstance(rules, list) or not rules):
    mistakes.append('rules: expected a list with at least one rule.')
    rules = []
  found = []
  for i, one in enumerate(rules or ()):
    rule, wrong = _rule(one, f'rules[{i}]', path.parent, options, models)
    mistakes += wrong
    found += [rule] if rule else []
  names = [rule.name for rule in found]
  doubles = {name for name in names if names.count(name) > 1}
  mistakes += [f'rules: two have the name {name!r}.' for name in sorted(doubles)]
  if mistakes:
    raise ConfigError('\n'.join(f'policy {path}: {mistake}' for mistake in mistakes))
  return found, hashlib.sha256(content).hexdigest()


def _rule(value, place, folder, defaults, models):
  """Returns (Rule or None, mistakes) of an entry of the file."""
  kind = value.get('type') if isinstance(value, dict) else None
  maker = RULES.get(kind) if isinstance(kind, str) else None
  if maker is None:  # only the fields that all rules have can be judged
    known = {
      name: value[name] for name in _RULE if isinstance(value, dict) and name in value
    }
    _, mistakes = rule_fields.read_object(
      known if isinstance(value, dict) else value, _RULE, place
    )
    return None, mistakes
  options, mistakes = rule_fields.read_object(value, _RULE | maker.fields, place)
  if mistakes:
    return None, mistakes
  if options['refusal'] and options['action'] != 'refuse':
    return None, [f'{place}.refusal: only a rule with action "refuse" says something.']
  try:
    made = maker(options | {'folder': folder}, models)
  except UserError as error:
    return None, [f'{place}.{error}']
  refusal = options['refusal'] or defaults.get('refusal', DEFAULT_REFUSAL)
  return Rule(options['name'], options['on'], options['action'], refusal, made), []


def _without_doubles(pairs):
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    double = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'{double!r} stands twice in one object')
  return found
