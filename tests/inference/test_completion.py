"""n, best_of, logprobs and echo: what is said of texts agrees with scores of them."""

import json

import numpy as np
import pytest

from gpt_jax.inference.text_options import TextOptions
from tests.inference.test_text import ABC, make

HOT = dict(max_new_tokens=12, temperature=2.0)


@pytest.mark.slow
def test_each_of_n_texts_is_that_of_its_own_seed():
  found = make(ABC).complete('ab', n=3, seed=5, **HOT)
  assert [each.seed for each in found] == [5, 6, 7]
  expected = [make(ABC).generate('ab', seed=seed, **HOT) for seed in (5, 6, 7)]
  assert [each.text for each in found] == expected and len(set(expected)) == 3
  together = make(ABC).complete(['c', 'ab'], n=3, seed=[0, 5], **HOT)
  assert [each.text for each in together[1]] == expected


@pytest.mark.slow
def test_best_of_keeps_the_likeliest_per_token():
  everyone = make(ABC).complete('ab', n=5, logprobs=0, **HOT)
  means = [np.mean([token.log_prob for token in each.log_probs]) for each in everyone]
  best = make(ABC).complete('ab', n=2, best_of=5, **HOT)
  order = np.argsort(-np.array(means))[:2]
  assert [each.seed for each in best] == order.tolist()
  assert [each.score for each in best] == pytest.approx([means[i] for i in order])
  assert make(ABC).generate('ab', best_of=5, **HOT) == best[0].text


def test_log_probabilities_add_up_to_the_score():
  generator = make()
  (found,) = generator.complete('ab', logprobs=3, repetition_penalty=2.0, **HOT)
  total = sum(token.log_prob for token in found.log_probs)
  # Of the model as it is, whatever temperature and penalties did.
  expected = generator.engine.score(generator._encode('ab'), found.ids)
  assert total == pytest.approx(expected, abs=1e-4)
  for token in found.log_probs:
    values = [each.log_prob for each in token.top]
    assert values == sorted(values, reverse=True) and len(values) == 3
    assert token.log_prob <= values[0] + 1e-6


def test_echo_puts_the_prompt_before_the_text():
  generator = make(ABC)
  (found,) = generator.complete('abc', logprobs=2, echo=True, **HOT)
  assert found.text == 'abc' + generator.generate('abc', **HOT)
  assert ''.join(generator.stream('abc', echo=True, **HOT)) == found.text
  tokens = found.log_probs
  assert ''.join(token.text for token in tokens) == found.text
  assert tokens[0].log_prob is None and tokens[0].top == ()
  total = sum(token.log_prob for token in tokens[1:3])
  assert total == pytest.approx(generator.score('a', 'bc'), abs=1e-5)


@pytest.mark.slow
def test_asking_for_log_probabilities_changes_no_text():
  plain = make(ABC).generate('ab', **HOT)
  assert make(ABC).complete('ab', logprobs=20, **HOT)[0].text == plain


@pytest.mark.slow
def test_a_completion_is_plain_json():
  (found,) = make(ABC).complete('ab', logprobs=1, best_of=2, echo=True, **HOT)
  again = json.loads(json.dumps(found.to_dict()))
  assert again['text'] == found.text and again['finish_reason'] == 'length'
  assert again['ids'] == found.ids.tolist() and again['score'] == found.score
  assert again['logprobs'][1]['top'][0]['logprob'] <= 0


OPTIONS = {
  'greedy': dict(temperature=0),
  'top-k and typical': dict(top_k=2, typical_p=0.9),
  'min-p': dict(min_p=0.2),
  'penalties': dict(repetition_penalty=1.4, presence_penalty=0.5),
  'frequency, greedy': dict(temperature=0, frequency_penalty=0.7),
  'bias': dict(logit_bias={0: -1.0, 2: 2.0}),
  'stop string': dict(stop='ca'),
  'banned string': dict(banned=('ab', 'cc')),
  'log-probabilities': dict(logprobs=2),
  'all': dict(
    top_p=0.9, min_p=0.01, repetition_penalty=1.2, logit_bias={1: 0.5}, stop='bbb',
    banned='acb', logprobs=1, seed=9,
  ),
}  # fmt: skip


def test_every_option_gives_the_same_text_alone_and_in_company():
  generator = make(ABC, model__d_model=40)  # programs of its own
  requests = []
  for options in OPTIONS.values():
    asked = TextOptions.of(HOT | options)
    requests += generator._requests([generator._encode('ab')], asked)
  engine = generator.engine
  together = engine.write(requests)
  assert engine._decode._cache_size() == 1
  texts = {text.ids.tobytes() for text in together}
  assert len(texts) > len(OPTIONS) / 2  # they do differ
  for i, request in enumerate(requests):
    (alone,) = engine.write([request])
    assert alone.ids.tolist() == together[i].ids.tolist(), list(OPTIONS)[i]
    assert alone.finish == together[i].finish
  assert engine._decode._cache_size() == 2  # for batches of ten and of one


@pytest.mark.slow
def test_more_texts_than_slots_are_the_same_too():
  generator = make(ABC, model__d_model=40, inference__slots=3)
  requests = [
    generator._requests([generator._encode('ab')], TextOptions.of(HOT | options))[0]
    for options in OPTIONS.values()
  ]
  texts = generator.engine.write(requests)
  for name, request, text in zip(OPTIONS, requests, texts, strict=True):
    (alone,) = generator.engine.write([request])
    assert alone.ids.tolist() == text.ids.tolist(), name
    assert alone.finish == text.finish
