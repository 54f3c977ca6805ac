"""/v1/completions gives the texts of `Run.complete`, whole, streamed and several."""

import json

import pytest

from tests.serving import served

ASKED = dict(max_tokens=12, temperature=1.5, seed=3)


def expected(prompt, **options):
  options = dict(max_new_tokens=12, temperature=1.5, seed=3) | options
  return served.run_of().complete(prompt, **options)


def events(server, path, **body):
  """Returns the events of a stream."""
  body = {'model': served.NAME, 'stream': True} | body
  with served.http.stream('POST', server.url + path, json=body) as response:
    assert response.headers['content-type'].startswith('text/event-stream')
    lines = [line for line in response.iter_lines() if line]
  assert lines[-1] == 'data: [DONE]'
  return [json.loads(line.removeprefix('data: ')) for line in lines[:-1]]


def test_a_text_is_that_of_the_run(server):
  found = server.complete('ab', **ASKED)
  assert found['choices'][0]['text'] == expected('ab')[0].text
  assert found['choices'][0]['finish_reason'] in ('length', 'stop')
  assert found['usage']['prompt_tokens'] == 2
  assert found['usage']['completion_tokens'] == len(expected('ab')[0].ids)


def test_streamed_pieces_join_to_the_text(server):
  found = events(server, '/v1/completions', prompt='π says', **ASKED)
  texts = [choice['text'] for event in found for choice in event['choices']]
  assert ''.join(texts) == expected('π says')[0].text
  assert found[-1]['choices'][0]['finish_reason'] is not None
  assert all('usage' not in event for event in found)


def test_n_texts_have_the_seeds_that_follow(server):
  found = server.complete('ab', n=3, **ASKED)
  texts = [choice['text'] for choice in found['choices']]
  assert texts == [one.text for one in expected('ab', n=3)]
  streamed = ['', '', '']
  for event in events(server, '/v1/completions', prompt='ab', n=3, **ASKED):
    for choice in event['choices']:
      streamed[choice['index']] += choice['text']
  assert streamed == texts


def test_best_of_gives_the_likeliest(server):
  found = server.complete('ab', n=1, best_of=4, **ASKED)
  assert [c['text'] for c in found['choices']] == [
    one.text for one in expected('ab', n=1, best_of=4)
  ]


def test_several_prompts_and_ids_are_answered_in_order(server):
  found = server.complete(['ab', 'c'], **ASKED)
  assert [c['text'] for c in found['choices']] == [
    expected(prompt)[0].text for prompt in ('ab', 'c')
  ]
  by_ids = server.complete([[97, 98], [99]], **ASKED)
  assert [c['text'] for c in by_ids['choices']] == [c['text'] for c in found['choices']]


def test_stop_strings_and_echo_hold(server):
  text = expected('ab')[0].text
  stop = text[3:5]
  found = server.complete('ab', stop=stop, echo=True, **ASKED)['choices'][0]
  assert found['text'] == 'ab' + text[: text.index(stop)]
  assert found['finish_reason'] == 'stop'


def test_log_probabilities_are_those_of_the_run(server):
  found = server.complete('ab', logprobs=2, echo=True, **ASKED)['choices'][0]
  (wanted,) = expected('ab', logprobs=2, echo=True)
  log_probs = found['logprobs']
  assert log_probs['token_logprobs'][0] is None
  assert log_probs['token_logprobs'][1:] == pytest.approx(
    [one.log_prob for one in wanted.log_probs[1:]], abs=1e-5
  )
  assert log_probs['text_offset'][:3] == [0, 1, 2]
  assert all(len(top) == 2 for top in log_probs['top_logprobs'][1:])
  streamed = events(server, '/v1/completions', prompt='ab', logprobs=2, **ASKED)
  parts = [c['logprobs'] for event in streamed for c in event['choices']]
  values = sum((part['token_logprobs'] for part in parts if part), [])
  assert values == pytest.approx(log_probs['token_logprobs'][2:], abs=1e-5)


def test_a_bias_and_penalties_change_the_text(server):
  found = server.complete('ab', logit_bias={'120': 100}, max_tokens=5)['choices'][0]
  assert found['text'] == 'xxxxx'


def test_the_usage_ends_a_stream_that_asks_for_it(server):
  asked = dict(prompt='ab', stream_options={'include_usage': True}, **ASKED)
  found = events(server, '/v1/completions', **asked)
  assert found[-1]['choices'] == [] and found[-1]['usage']['prompt_tokens'] == 2
  assert all(event['usage'] is None for event in found[:-1])


def test_a_prompt_that_was_read_before_is_counted_as_cached(server):
  prompt = 'a prompt of more than one chunk of sixteen tokens'
  server.complete(prompt, max_tokens=2)
  usage = server.complete(prompt, max_tokens=2)['usage']
  assert usage['prompt_tokens_details']['cached_tokens'] >= 16


def test_no_tokens_are_an_empty_text(server):
  found = server.complete('ab', max_tokens=0, echo=True)['choices'][0]
  assert (found['text'], found['finish_reason']) == ('ab', 'length')
