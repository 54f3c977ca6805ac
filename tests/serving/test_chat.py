"""Conversations: the template's ids, ends of replies, JSON answers, tools."""

import json

import numpy as np
import pytest

from gpt_jax.serving.chat_format import ChatFormat
from gpt_jax.templates import jinja_chat
from tests.serving import served
from tests.serving.test_completions import events

PATH = '/v1/chat/completions'
HELLO = [{'role': 'user', 'content': 'hi'}]
ASKED = dict(messages=HELLO, max_tokens=12, temperature=1.5, seed=3)
WEATHER = {
  'type': 'function',
  'function': {
    'name': 'weather',
    'parameters': {
      'type': 'object',
      'properties': {'warm': {'type': 'boolean'}},
      'required': ['warm'],
      'additionalProperties': False,
    },
  },
}


def reply(server, **body):
  found = server.post(PATH, **(ASKED | body))
  assert found.status_code == 200, found.text
  return found.json()['choices'][0]


def test_a_reply_is_the_text_after_the_template(server):
  tokenizer = served.run_of().tokenizer
  format_ = ChatFormat(jinja_chat.get('plain', tokenizer), tokenizer, '')
  prompt = tokenizer.decode(format_.ids_of(HELLO))
  (wanted,) = served.run_of().complete(
    prompt, max_new_tokens=12, temperature=1.5, seed=3, stop=format_.stop
  )
  found = reply(server)
  assert found['message']['content'] == wanted.text
  assert found['message']['role'] == 'assistant'


def test_a_stream_adds_up_to_the_reply(server):
  found = events(server, PATH, **ASKED)
  deltas = [choice['delta'] for event in found for choice in event['choices']]
  assert deltas[0] == {'role': 'assistant', 'content': ''}
  text = ''.join(delta.get('content') or '' for delta in deltas)
  assert text == reply(server)['message']['content']
  assert found[-1]['choices'][0]['finish_reason'] in ('length', 'stop')


def test_parts_and_neighbours_of_one_role_are_joined(server):
  parts = [{'type': 'text', 'text': 'h'}, {'type': 'text', 'text': 'i'}]
  one = reply(server, messages=[{'role': 'user', 'content': parts}])
  assert one == reply(server)
  several = [{'role': 'user', 'content': 'a'}, {'role': 'user', 'content': 'b'}]
  joined = [{'role': 'user', 'content': 'a\n\nb'}]
  assert reply(server, messages=several) == reply(server, messages=joined)


@pytest.mark.parametrize(
  'messages, named',
  [
    ([], 'messages'),
    ([{'role': 'assistant', 'content': 'a'}], 'messages'),
    ([{'role': 'user', 'content': ' '}], 'messages[0].content'),
    ([{'role': 'nobody', 'content': 'a'}], 'messages[0].role'),
    ([*HELLO, {'role': 'tool', 'content': 'a', 'tool_call_id': 'x'}], 'messages[1]'),
    ([{'role': 'user', 'content': [{'type': 'image_url'}]}], 'messages[0].content[0]'),
  ],
)
def test_messages_out_of_order_are_refused(server, messages, named):
  found = server.post(PATH, messages=messages)
  assert found.status_code == 400
  assert found.json()['error']['param'].startswith(named)


@pytest.mark.slow
def test_an_answer_of_a_schema_is_json(server):
  schema = {
    'type': 'object',
    'properties': {'ok': {'type': 'boolean'}},
    'required': ['ok'],
    'additionalProperties': False,
  }
  format_ = {'type': 'json_schema', 'json_schema': {'name': 'a', 'schema': schema}}
  found = reply(server, response_format=format_, max_tokens=30)
  assert set(json.loads(found['message']['content'])) == {'ok'}
  found = reply(server, response_format={'type': 'json_object'}, max_tokens=30)
  assert isinstance(json.loads(found['message']['content']), dict)


@pytest.mark.slow
def test_a_forced_call_follows_its_schema():
  with served.serve(served.models(load=long_model)) as server:
    for choice in ('required', {'type': 'function', 'function': {'name': 'weather'}}):
      asked = dict(tools=[WEATHER], tool_choice=choice, max_tokens=80)
      found = reply(server, **asked)
      assert found['finish_reason'] == 'tool_calls'
      (call,) = found['message']['tool_calls']
      assert call['function']['name'] == 'weather'
      assert set(json.loads(call['function']['arguments'])) == {'warm'}
      streamed = events(server, PATH, **(ASKED | asked))
      deltas = [c['delta'] for event in streamed for c in event['choices']]
      (call_again,) = next(d['tool_calls'] for d in deltas if 'tool_calls' in d)
      assert call_again['function'] == call['function']
    messages = [
      *HELLO,
      {'role': 'assistant', 'content': None, 'tool_calls': [call]},
      {'role': 'tool', 'content': '5', 'tool_call_id': call['id']},
    ]
    reply(server, messages=messages, max_tokens=5)


def long_model(source, overrides=None, chat_template=None):
  run = served.run_of(data__seq_len=512, model__max_seq_len=512)
  return served.load(source, overrides, chat_template, run)


def test_log_probabilities_come_with_their_bytes(server):
  found = reply(server, logprobs=True, top_logprobs=2)
  content = found['logprobs']['content']
  assert len(content) >= 1 and all(len(one['top_logprobs']) == 2 for one in content)
  assert all(one['logprob'] <= 0 for one in content)


def test_a_model_without_a_template_says_so():
  with served.serve(served.models(chat_template=None)) as server:
    found = server.post(PATH, **ASKED)
    assert found.status_code == 400
    assert '--chat_template' in found.json()['error']['message']


def test_ids_begin_with_the_begin_token_once():
  class Tokenizer:
    special_tokens = {'<b>': 300}

    def special_id(self, name):
      return self.special_tokens[name]

    def encode(self, text):
      return np.frombuffer(text.encode(), np.uint8)

  source = '<b>{% for m in messages %}{{ m.content }}|{% endfor %}'
  template = jinja_chat.ChatTemplate('own', source, frozenset(['<b>']))
  ids = ChatFormat(template, Tokenizer(), '<b>').ids_of(HELLO)
  assert ids.tolist() == [300, *b'hi|']
