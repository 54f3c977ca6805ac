"""Functions that a model may call: described in a system message, called in JSON.

The description is CALLING and a line of JSON for each function. A call is the JSON
object `{"name": ..., "arguments": {...}}`: with `tool_choice` "required" or one
function the answer is held to its schema; with "auto" an answer that is such an object
is a call, and anything else is text.
"""

import dataclasses
import json
import secrets
from typing import Any

from gpt_jax.serving import chat_format
from gpt_jax.serving.errors import invalid

CALLING = (
  'You can call one of the functions below. To call one, answer with nothing but a JSON'
  ' object {"name": the name of the function, "arguments": an object}.'
)


@dataclasses.dataclass(frozen=True)
class Asked:
  """What a request says of tools."""

  functions: dict[str, Any]
  """Name -> what the request has of it; those that may be called."""
  is_forced: bool
  """The answer has to be a call."""

  def schema(self):
    """Returns the JSON schema of a call."""
    definitions: dict[str, Any] = {}
    calls = []
    for name, function in self.functions.items():
      parameters: dict[str, Any] = dict(
        function.get('parameters') or {'type': 'object'}
      )
      for key in ('$defs', 'definitions'):
        for title, each in parameters.pop(key, {}).items():
          known = definitions.setdefault(key, {}).setdefault(title, each)
          if known != each:
            raise invalid('tools', f'two functions define {title[:80]!r} differently.')
      calls.append(
        {
          'type': 'object',
          'properties': {'name': {'enum': [name]}, 'arguments': parameters},
          'required': ['name', 'arguments'],
          'additionalProperties': False,
        }
      )
    found = calls[0] if len(calls) == 1 else {'anyOf': calls}
    return found | definitions


NONE = Asked({}, False)


def asked(call):
  """Returns what a Call Asked. Raises ApiError 400 for a function that is not there."""
  given, choice = call.get('tools'), call.get('tool_choice')
  functions = {tool['function']['name']: tool['function'] for tool in given or ()}
  if len(functions) < len(given or ()):
    raise invalid('tools', 'two functions have one name.')
  if choice in (None, 'auto', 'none'):
    return NONE if choice == 'none' or not functions else Asked(functions, False)
  if not functions:
    raise invalid('tool_choice', 'only with tools.')
  if choice == 'required':
    return Asked(functions, True)
  name = choice['function']['name']
  if name not in functions:
    raise invalid('tool_choice', f'{name!r} is not one of {", ".join(functions)}.')
  return Asked({name: functions[name]}, True)


def plain(messages):
  """Returns messages of role and content, calls and their results written as text."""
  names, found = {}, []
  for i, message in enumerate(messages):
    path = f'messages[{i}]'
    content, role = chat_format.content_of(message, path), message['role']
    calls = message.get('tool_calls') or ()
    if calls and role != 'assistant':
      raise invalid(f'{path}.tool_calls', 'only in messages of the assistant.')
    for one in calls:
      function = one['function']
      names[one['id']] = function['name']
      content += ('\n' if content else '') + _written(function, path)
    if role == 'tool':
      name = names.get(message.get('tool_call_id'))
      if name is None:
        raise invalid(f'{path}.tool_call_id', 'names no call of a message before.')
      role, content = 'user', f'Result of {name}: {content}'
    found.append(
      {'role': 'system' if role == 'developer' else role, 'content': content}
    )
  return found


def _written(function, path):
  try:
    arguments = json.loads(function['arguments'] or '{}')
  except (ValueError, RecursionError):
    raise invalid(f'{path}.tool_calls', 'arguments that are no JSON.') from None
  return json.dumps(
    {'name': function['name'], 'arguments': arguments}, ensure_ascii=False
  )


def described(messages, asked_tools):
  """Returns messages whose system message describes the functions."""
  if not asked_tools.functions:
    return messages
  lines = [
    json.dumps(
      {
        'name': name,
        'description': function.get('description') or '',
        'parameters': function.get('parameters') or {},
      },
      ensure_ascii=False,
    )
    for name, function in asked_tools.functions.items()
  ]
  system = {'role': 'system', 'content': '\n'.join([CALLING, *lines])}
  return [system, *messages]  # joined with one of the request


def call_of(text, asked_tools):
  """Returns the tool call that a text is, as OpenAI has it, or None."""
  if not asked_tools.functions or not text.lstrip().startswith('{'):
    return None
  try:
    found = json.loads(text)
  except (ValueError, RecursionError):
    return None
  arguments = found.get('arguments')
  if found.get('name') not in asked_tools.functions or not isinstance(arguments, dict):
    return None
  return {
    'id': 'call_' + secrets.token_hex(12),
    'type': 'function',
    'function': {
      'name': found['name'],
      'arguments': json.dumps(arguments, ensure_ascii=False),
    },
  }


@dataclasses.dataclass(frozen=True)
class CallPiece:
  """A call, in place of the pieces of its text."""

  index: int
  call: dict
  log_probs: tuple = ()


async def held(pieces, asked_tools):
  """Yields the pieces of an answer, those that may be a call once that is known."""
  if not asked_tools.functions:
    async for piece in pieces:
      yield piece
    return
  kept: list[Any] = []
  text, is_held = '', True
  async for piece in pieces:
    if not is_held:
      yield piece
      continue
    kept.append(piece)
    text += piece.text
    is_held = not text.strip() or text.lstrip().startswith('{')
    if is_held and not piece.finish:
      continue
    found = call_of(text, asked_tools) if is_held and piece.refusal is None else None
    if found is not None:
      yield CallPiece(piece.index, found)
      return
    for one in kept:
      yield one
    kept, is_held = [], False
