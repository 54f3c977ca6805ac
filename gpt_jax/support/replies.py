"""Fixed replies: patterns of messages, and what is said to them, from a YAML file.

A file has `replies` (name, patterns, and reply or action: hand_over), `values` that
replies may name as {{ value }}, and `texts` for what the program itself says. Replies
are Jinja templates, rendered in its sandbox.
"""

import dataclasses
import pathlib
import re
from typing import Any

import jinja2
import jinja2.sandbox

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.evaluation import chinese

DEFAULT = pathlib.Path(__file__).parent / 'replies.yaml'
HAND_OVER = 'hand_over'
_KEYS = ('values', 'replies', 'texts')
_REPLY_KEYS = ('name', 'patterns', 'reply', 'action')
TEXTS = ('no_answer', HAND_OVER, 'waiting')
LANGUAGES = ('en', 'zh')


@dataclasses.dataclass(frozen=True)
class FixedReply:
  """One entry of a file."""

  name: str
  patterns: tuple[re.Pattern, ...]
  template: jinja2.Template | None  # None: a person takes over


class Replies:
  """The fixed replies of a file."""

  def __init__(self, replies, texts, values):
    """Takes FixedReplies, {name: {language: text}}, and the values of templates."""
    self._replies, self._texts, self._values = replies, texts, values

  def find(self, message):
    """Returns the first FixedReply with a pattern that is in a message, or None."""
    for reply in self._replies:
      if any(pattern.search(message) for pattern in reply.patterns):
        return reply
    return None

  def render(self, reply):
    """Returns the text of a FixedReply that has one."""
    return reply.template.render(**self._values)

  def text(self, name, message):
    """Returns one of TEXTS, in the language of a message."""
    language = 'zh' if chinese.is_chinese([message]) else 'en'
    return self._texts[name][language]


def load(path=None):
  """Returns the Replies of a file; None: the ones shipped.

  Raises ConfigError, naming file and entry, for what is unknown, missing or no pattern.
  """
  shipped = _read(DEFAULT)
  if path is None:
    return _replies_of(DEFAULT, shipped, shipped['texts'])
  return _replies_of(path, _read(path), shipped['texts'])


def _read(path):
  import yaml

  try:
    found = yaml.safe_load(pathlib.Path(path).read_text(encoding='utf-8'))
  except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
    raise ConfigError(f'--replies={path}: cannot be read as YAML: {error}') from error
  if not isinstance(found, dict) or not isinstance(found.get('replies'), list):
    raise ConfigError(
      f"--replies={path}: expected an object with 'replies', a list of name, patterns"
      f' and reply; {DEFAULT.name} is an example.'
    )
  _require_known(found, _KEYS, f'--replies={path}')
  return found


def _replies_of(path, found, shipped_texts):
  values = found.get('values') or {}
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined
  )
  replies = [
    _reply(one, f'--replies={path}: entry {number}', environment, values)
    for number, one in enumerate(found['replies'], start=1)
  ]
  given = found.get('texts') or {}
  _require_known(given, TEXTS, f'--replies={path}: texts')
  texts = {}
  for name in TEXTS:
    one = given.get(name) or {}
    one = dict.fromkeys(LANGUAGES, one) if isinstance(one, str) else one
    _require_known(one, LANGUAGES, f'--replies={path}: texts: {name}')
    texts[name] = shipped_texts[name] | one
  return Replies(replies, texts, values)


def _reply(found, place, environment, values):
  if not isinstance(found, dict) or not isinstance(found.get('name'), str):
    raise ConfigError(f'{place}: expected an object with a name, not {found!r}.')
  place = f'{place} ({found["name"]})'
  _require_known(found, _REPLY_KEYS, place)
  patterns = found.get('patterns')
  if not isinstance(patterns, list) or not patterns:
    raise ConfigError(f'{place}: patterns={patterns!r}: expected a list of patterns.')
  if ('reply' in found) == ('action' in found):
    raise ConfigError(f"{place}: give 'reply', or 'action: {HAND_OVER}'.")
  if found.get('action', HAND_OVER) != HAND_OVER:
    raise ConfigError(f'{place}: action={found["action"]!r}: expected {HAND_OVER}.')
  compiled = tuple(_pattern(pattern, place) for pattern in patterns)
  if 'action' in found:
    return FixedReply(found['name'], compiled, None)
  try:
    template = environment.from_string(str(found['reply']))
    template.render(**values)
  except jinja2.TemplateError as error:
    raise ConfigError(
      f'{place}: reply: {error} (values: {_listed(values)}).'
    ) from error
  return FixedReply(found['name'], compiled, template)


def _pattern(pattern, place):
  try:
    return re.compile(pattern, re.IGNORECASE)
  except (re.error, TypeError) as error:
    raise ConfigError(f'{place}: pattern {pattern!r}: {error}.') from error


def _require_known(found: Any, known, place):
  if not isinstance(found, dict):
    raise ConfigError(f'{place}: expected an object, not {found!r}.')
  for key in found:
    if key not in known:
      hint = nearest(key, known)
      raise ConfigError(
        f'{place}: unknown key {key!r}; expected {", ".join(known)}'
        + (f'; did you mean {hint!r}?' if hint else '.')
      )


def _listed(values):
  return ', '.join(map(str, values)) or 'none'
