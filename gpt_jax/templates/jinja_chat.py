"""Formats of conversations as Jinja templates, rendered in a sandbox.

As the transformers library renders them, except that a template is not told the date:
one that asks for it takes the date it has for that case.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping

import jinja2
import jinja2.ext
import jinja2.sandbox

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

OF_TOKENIZER = 'tokenizer'
"""The name of the format that came with the tokenizer of a run."""
BUILT_IN = {
  'chatml': 'roles between <|im_start|> and a line end, turns end with <|im_end|>',
  'gemma': 'turns of user and model, between <start_of_turn> and <end_of_turn>',
  'llama3': 'roles between header tokens, turns end with <|eot_id|>',
  'plain': 'a line a turn: "User: ...", "Assistant: ..."; no special tokens',
}
"""Name -> what it looks like; each is the file of its name, `.jinja`."""

_FOLDER = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
  """A format of conversations."""

  name: str
  source: str  # in Jinja
  special_tokens: frozenset[str] = frozenset()
  """Names of tokens that are tokens where the template, not a message, has them."""
  variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """What the template may use besides the messages: bos_token and the like."""


def get(name, tokenizer=None):
  """Returns the ChatTemplate of a name, of the `tokenizer`, or of a text in Jinja.

  Args:
    name: one of BUILT_IN; 'tokenizer' for the one that came with it; a Jinja template
      itself, which has a `{%` or a `{{`.
    tokenizer: knows which names are special tokens; None: none are.

  Raises ConfigError for an unknown name, a tokenizer without one, a syntax error.
  """
  if '{%' in name or '{{' in name:
    source, name = name, 'own'
  elif name == OF_TOKENIZER:
    source = tokenizer.chat_template if tokenizer else None
    if not source:
      raise ConfigError(
        f"chat template 'tokenizer': the tokenizer came without one; choose one of"
        f' {", ".join(BUILT_IN)}.'
      )
  elif name in BUILT_IN:
    source = (_FOLDER / f'{name}.jinja').read_text(encoding='utf-8')
  else:
    known = [*BUILT_IN, OF_TOKENIZER]
    hint = nearest(name, known)
    raise ConfigError(
      f'chat template {name!r}: expected one of {", ".join(known)}, or a text in Jinja'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  template = ChatTemplate(
    name,
    source,
    frozenset(tokenizer.special_tokens if tokenizer else ()),
    _special_names(tokenizer),
  )
  _compiled(source, name)
  return template


def render(template, messages, add_generation_prompt=False):
  """Returns the text of messages, dicts with role and content, by a ChatTemplate.

  Raises jinja2.TemplateError for what the template refuses or cannot do.
  """
  return _compiled(template.source, template.name).render(
    messages=messages,
    add_generation_prompt=add_generation_prompt,
    tools=None,
    documents=None,
    **template.variables,
  )


def _special_names(tokenizer):
  names = dict(getattr(tokenizer, 'special_names', {}))
  if tokenizer and tokenizer.eos_id is not None:
    by_id = {i: name for name, i in tokenizer.special_tokens.items()}
    if tokenizer.eos_id in by_id:
      names.setdefault('eos_token', by_id[tokenizer.eos_id])
  return names


@functools.lru_cache(maxsize=32)
def _compiled(source, name):
  try:
    return _environment().from_string(source)
  except jinja2.TemplateSyntaxError as error:
    raise ConfigError(
      f'chat template {name!r}: line {error.lineno}: {error.message}.'
    ) from error


@functools.cache
def _environment():
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.filters['tojson'] = _to_json
  environment.globals['raise_exception'] = _raise_exception
  return environment


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
  # Jinja's own escapes what HTML would read.
  return json.dumps(
    value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
    sort_keys=sort_keys,
  )  # fmt: skip


def _raise_exception(message):
  raise jinja2.TemplateError(message)


class _Generation(jinja2.ext.Extension):
  """`{% generation %}`, by which some templates mark replies: what it holds."""

  tags = {'generation'}

  def parse(self, parser):
    next(parser.stream)
    return parser.parse_statements(('name:endgeneration',), drop_needle=True)
