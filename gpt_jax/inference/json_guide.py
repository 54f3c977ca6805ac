"""A guide to texts that are JSON of a schema, complete at their limit of tokens.

Near the limit only single characters are allowed, and of those the ones after which an
ending fits.
"""

import json
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import guide, json_ending
from gpt_jax.inference.grammar_library import Library
from gpt_jax.inference.spelling import Spelling

WHITESPACE = '[ ]?'
"""What may stand between the parts: with more, a model could go on for ever."""
MARGIN = 16
"""Tokens before the limit, besides those of endings, from which on it is minded."""
MAX_PARTS = 200  # of a schema, that are looked at one by one


class JsonSchema:
  """The GuideMaker of texts of up to `max_new_tokens` that a JSON schema takes.

  Keywords that `llguidance` cannot keep are refused, never left out.
  """

  def __init__(self, schema, max_new_tokens, tokenizer):
    """Takes a dict, or its JSON. Raises ConfigError unless some text is possible."""
    schema = _read(schema)
    self.spelling = Spelling.of(tokenizer)
    self.library = Library.of(tokenizer, self.spelling)
    self.max_new_tokens = max_new_tokens
    self.matcher = self.library.matcher('json_schema', self._source(schema))
    self.in_bytes = self.library.byte_matcher('json_schema', self._source(schema))
    self._key = (json.dumps(schema), max_new_tokens, tokenizer.fingerprint)
    ending = json_ending.find(self.in_bytes, self.spelling)
    if ending is None:
      raise ConfigError(
        'json_schema: no text was found that matches. Either there is none, or the'
        f' {tokenizer.name} tokenizer of {tokenizer.vocab_size} ids lacks characters'
        ' for it, or a pattern has to be found anywhere in a string: write down what is'
        ' before, as in ^[a-z]*[.]$ for [.]$.'
      )
    if len(ending) > max_new_tokens:
      raise ConfigError(
        f'max_new_tokens={max_new_tokens}: the shortest text found for json_schema has'
        f' {len(ending)} tokens; allow at least as many.'
      )
    # One token may begin a part of the schema, which has to be ended then.
    longest = max(map(self._ending_length, _parts(schema)), default=0)
    self.reserve = 2 * longest + MARGIN

  def _source(self, schema):
    return self.library.package.LLMatcher.grammar_from_json_schema(
      json.dumps(schema), overrides={'whitespace_pattern': WHITESPACE}
    )

  def _ending_length(self, part):
    try:
      matcher = self.library.byte_matcher('json_schema', self._source(part))
    except ConfigError:  # a dict that is no schema
      return 0
    return len(json_ending.find(matcher, self.spelling) or ())

  def __eq__(self, other):
    return isinstance(other, JsonSchema) and self._key == other._key

  def __hash__(self):
    return hash(self._key)

  def start(self, prompt_ids):
    return JsonGuide(self)


class JsonGuide:
  """The Guide of one text."""

  masks = True

  def __init__(self, schema):
    self._schema, self._left = schema, schema.max_new_tokens
    self._matcher = schema.matcher.deep_copy()
    self._in_bytes = schema.in_bytes.deep_copy()
    self._ending = None  # ids of one that is known

  def allowed(self):
    allowed_V = self._schema.library.allowed(self._matcher)
    found = json_ending.find(self._in_bytes, self._schema.spelling)
    if self._ending is None or (found is not None and len(found) < len(self._ending)):
      self._ending = found
    ending = self._ending
    if ending is not None and self._left <= len(ending) + self._schema.reserve:
      allowed_V &= self._that_fit(allowed_V, ending)
    return guide.packed(allowed_V)

  def take(self, token_id):
    known = self._ending or []
    self._ending = known[1:] if known[:1] == [token_id] else None
    self._left -= 1
    self._matcher.consume_token(token_id)
    piece = self._schema.spelling.token_bytes[token_id]
    self._in_bytes.consume_tokens(list(piece))
    return self._matcher.is_stopped()

  def _that_fit(self, allowed_V, ending):
    """Returns after which of the ids the text can end within its limit, bool [V]."""
    spelling, end_id = self._schema.spelling, self._schema.library.end_id
    fitting_V, found = np.zeros_like(allowed_V), {}
    for token_id, piece in spelling.atoms:
      if not allowed_V[token_id]:
        continue
      after = self._in_bytes.deep_copy()
      after.consume_tokens(list(piece))
      # Of characters after which the same may follow, one is tried for all.
      mask = after.compute_bitmask()
      if mask not in found:
        rest = json_ending.find(after, spelling)
        found[mask] = rest is not None and len(rest) < self._left
      fitting_V[token_id] = found[mask]
    fitting_V[[*ending[:1], *([end_id] if end_id < len(fitting_V) else [])]] = True
    return fitting_V


def _read(schema):
  """Returns a JSON schema as a dict. Raises ConfigError for what is none."""
  if isinstance(schema, str):
    try:
      schema = json.loads(schema)
    except (ValueError, RecursionError) as error:
      raise ConfigError(
        f'json_schema: no JSON ({error}); expected such as {{"type": "object"}}.'
      ) from error
  if not isinstance(schema, dict | bool):
    raise ConfigError(
      f'json_schema={str(schema)[:40]!r}: expected a JSON object, such as'
      ' {"type": "object"}.'
    )
  if schema is False:
    raise ConfigError('json_schema=false: nothing matches it.')
  try:
    json.dumps(schema)
  except (TypeError, ValueError, RecursionError) as error:
    raise ConfigError(f'json_schema: holds what is no JSON ({error}).') from error
  return {} if schema is True else schema  # the package wants an object


def _parts(schema):
  """Returns the dicts in a schema, each with the definitions that it may refer to."""
  names = [name for name in ('$defs', 'definitions') if name in schema]
  definitions = {name: schema[name] for name in names}
  found = [definitions | part for part in _dicts(schema) if part is not schema]
  return found[:MAX_PARTS]


def _dicts(value):
  """Yields the dicts in `value`, itself included; some are no schemas."""
  if isinstance(value, dict):
    yield value
  children: Any = value.values() if isinstance(value, dict) else value
  for child in children if isinstance(value, dict | list) else ():
    yield from _dicts(child)
