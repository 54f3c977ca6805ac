"""Calls of functions: what a request asks for, and which texts are calls."""

import asyncio
import json
import types

import pytest

from gpt_jax.serving import tools
from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.generation import Piece

PLACE = {'type': 'object', 'properties': {'place': {'$ref': '#/$defs/P'}},
         '$defs': {'P': {'type': 'string'}}}  # fmt: skip


def asked(choice=None, names=('a', 'b'), parameters=PLACE):
  given = [
    {'type': 'function', 'function': {'name': name, 'parameters': parameters}}
    for name in names
  ]
  body = {'tools': given, 'tool_choice': choice}
  return tools.asked(types.SimpleNamespace(get=lambda name: body.get(name) or None))


def test_what_may_and_has_to_be_called():
  assert asked('none') is asked(names=()) is tools.NONE
  assert list(asked().functions) == list(asked('auto').functions) == ['a', 'b']
  assert not asked().is_forced and asked('required').is_forced
  one = asked({'type': 'function', 'function': {'name': 'b'}})
  assert one.is_forced and list(one.functions) == ['b']


def test_definitions_of_a_call_stand_where_they_are_found():
  schema = asked('required').schema()
  assert schema['$defs'] == {'P': {'type': 'string'}}
  names = [one['properties']['name']['enum'] for one in schema['anyOf']]
  assert names == [['a'], ['b']]
  assert '$defs' not in schema['anyOf'][0]['properties']['arguments']


def test_what_cannot_be_called_is_told():
  for wrong in (
    lambda: asked('required', names=()),
    lambda: asked({'type': 'function', 'function': {'name': 'c'}}),
    lambda: asked(names=('a', 'a')),
  ):
    with pytest.raises(ApiError):
      wrong()


@pytest.mark.parametrize(
  'text, is_call',
  [
    ('{"name": "a", "arguments": {"x": 1}}', True),
    (' {"name": "b", "arguments": {}}', True),
    ('{"name": "c", "arguments": {}}', False),
    ('{"name": "a", "arguments": 3}', False),
    ('{"name": "a"', False),
    ('hello', False),
    ('', False),
  ],
)
def test_which_texts_are_calls(text, is_call):
  found = tools.call_of(text, asked())
  assert (found is not None) == is_call
  if is_call:
    assert json.loads(found['function']['arguments']) == json.loads(text)['arguments']
  assert tools.call_of(text, tools.NONE) is None


def held(*texts):
  async def pieces():
    for i, text in enumerate(texts):
      yield Piece(0, text, (), 'stop' if i == len(texts) - 1 else None)

  async def run():
    return [one async for one in tools.held(pieces(), asked())]

  return asyncio.run(run())


def test_text_is_shown_as_it_comes_and_calls_when_whole():
  assert [one.text for one in held('he', 'llo', '')] == ['he', 'llo', '']
  (call,) = held('{"name": "a",', ' "arguments"', ': {}}')
  assert call.call['function']['name'] == 'a'
  assert [one.text for one in held(' {"x"', ': 1}', '')] == [' {"x"', ': 1}', '']


def test_calls_and_results_are_written_as_text():
  call = {'id': 'i', 'type': 'function', 'function': {'name': 'a', 'arguments': '{}'}}
  found = tools.plain(
    [
      {'role': 'developer', 'content': 's'},
      {'role': 'assistant', 'content': None, 'tool_calls': [call]},
      {'role': 'tool', 'tool_call_id': 'i', 'content': '5'},
    ]
  )
  assert found == [
    {'role': 'system', 'content': 's'},
    {'role': 'assistant', 'content': '{"name": "a", "arguments": {}}'},
    {'role': 'user', 'content': 'Result of a: 5'},
  ]
  described = tools.described(found, asked())
  assert described[0]['role'] == 'system' and tools.CALLING in described[0]['content']
