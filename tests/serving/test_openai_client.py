"""The official client reads all that the server answers."""

import json

import numpy as np
import openai
import pytest

from tests.serving import served

HELLO = [{'role': 'user', 'content': 'hi'}]


@pytest.fixture(scope='module')
def client(server):
  with openai.OpenAI(base_url=server.url + '/v1', api_key='none', max_retries=0) as one:
    yield one


def test_models_are_listed(client):
  (model,) = client.models.list().data
  assert (model.id, model.owned_by) == (served.NAME, 'gpt_jax')


def test_completions_whole_and_streamed(client):
  asked = dict(model=served.NAME, prompt='ab', max_tokens=9, seed=1, n=2, logprobs=1)
  whole = client.completions.create(**asked)
  assert [choice.index for choice in whole.choices] == [0, 1]
  assert whole.usage.completion_tokens <= 18
  texts = ['', '']
  for event in client.completions.create(**asked, stream=True):
    for choice in event.choices:
      texts[choice.index] += choice.text
  assert texts == [choice.text for choice in whole.choices]


def test_chats_whole_and_streamed(client):
  asked = dict(
    model=served.NAME, messages=HELLO, max_completion_tokens=9, seed=1, logprobs=True,
    top_logprobs=2,
  )  # fmt: skip
  whole = client.chat.completions.create(**asked)
  (choice,) = whole.choices
  assert choice.message.role == 'assistant' and choice.finish_reason in (
    'stop',
    'length',
  )
  tokens = choice.logprobs.content
  assert len(tokens) == whole.usage.completion_tokens
  text, streamed = '', []
  for event in client.chat.completions.create(**asked, stream=True):
    text += event.choices[0].delta.content or ''
    streamed += event.choices[0].logprobs.content if event.choices[0].logprobs else []
  assert text == choice.message.content
  assert [one.token for one in streamed] == [one.token for one in tokens]


def test_the_usage_of_a_stream(client):
  stream = client.chat.completions.create(
    model=served.NAME, messages=HELLO, max_tokens=4, stream=True, logprobs=True,
    stream_options={'include_usage': True},
  )  # fmt: skip
  *others, last = list(stream)
  usage = last.usage
  choices = [event.choices[0] for event in others]
  written = sum(len(one.logprobs.content) for one in choices if one.logprobs)
  assert usage.prompt_tokens > 0 and usage.completion_tokens == written
  assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
  assert all(event.usage is None for event in others)


def test_vectors_by_either_encoding(client):
  asked = dict(model=served.NAME, input=['ab', 'a longer text'])
  by_default = client.embeddings.create(**asked)  # base64, which the client decodes
  plain = client.embeddings.create(**asked, encoding_format='float')
  found = np.array([one.embedding for one in by_default.data])
  np.testing.assert_allclose(found, [one.embedding for one in plain.data], rtol=1e-6)
  np.testing.assert_allclose(found, served.run_of().embed(asked['input']), atol=1e-6)
  assert by_default.usage.prompt_tokens == len('ab') + len('a longer text')


@pytest.mark.parametrize(
  'error, asked',
  [
    (openai.NotFoundError, dict(model='nobody')),
    (openai.BadRequestError, dict(max_tokens=10_000)),
    (openai.BadRequestError, dict(extra_body={'unknown': 1})),
  ],
)
def test_errors_have_the_classes_of_the_client(client, error, asked):
  with pytest.raises(error) as caught:
    client.completions.create(**({'model': served.NAME, 'prompt': 'ab'} | asked))
  assert caught.value.body['message'] and caught.value.request_id.startswith('req_')


@pytest.mark.slow
def test_an_answer_of_a_class_is_parsed(client):
  import pydantic

  class Answer(pydantic.BaseModel):
    ok: bool

  found = client.chat.completions.parse(
    model=served.NAME, messages=HELLO, response_format=Answer, max_tokens=30
  )
  assert isinstance(found.choices[0].message.parsed.ok, bool)
  assert json.loads(found.choices[0].message.content).keys() == {'ok'}
