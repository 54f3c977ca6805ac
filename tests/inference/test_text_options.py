"""What cannot be asked for is told before anything runs, all at once."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.text_options import MAX_SAMPLES, TextOptions
from tests.inference.test_text import ABC, make


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(stop=''), "stop='': expected texts of at least one character"),
    (dict(stop=['a', '']), "stop='': expected texts of at least one character"),
    (dict(banned=[3]), 'banned=3: expected texts'),
    (dict(stop='abc', banned='b'), "stop='abc' can never come, since banned='b'"),
    (dict(n=10**9), f'n=1000000000: expected a number from 1 to {MAX_SAMPLES}'),
    (dict(n=0), 'n=0: expected'),
    (dict(n=1.5), 'n=1.5: expected'),
    (dict(best_of=10**9), 'best_of=1000000000: expected'),
    (dict(n=3, best_of=2), 'best_of=2: expected at least n=3'),
    (dict(beams=0), 'beams=0: expected'),
    (dict(logprobs=21), r'logprobs=21: expected 0 .* to 20'),
    (dict(logprobs=True), 'logprobs=True: expected 0'),
    (dict(beams=4, temperature=0.7), 'temperature=0.7 with beams=4: beam search draws'),
    (dict(beams=4, top_k=[0, 5]), r'top_k=\[0, 5\] with beams=4'),
    (dict(beams=4, best_of=5), 'best_of=5 with beams=4'),
    (dict(beams=2, n=3), 'n=3: expected at most beams=2'),
    (dict(beams=2, length_penalty=float('nan')), 'length_penalty=nan: expected'),
    (dict(beams=2, early_stopping='maybe'), "early_stopping='maybe': expected True"),
    (dict(length_penalty=2.0), 'length_penalty=2.0: of beams; set beams above 1'),
    (dict(beyond_positions='wrap'), "beyond_positions='wrap': expected error or slide"),
    (dict(temprature=1.0), 'temprature: no such option; did you mean temperature?'),
  ],
)
def test_options_that_cannot_be_are_named(options, message):
  with pytest.raises(ConfigError, match=message):
    TextOptions.of(options)


def test_several_problems_are_told_together():
  with pytest.raises(ConfigError) as error:
    TextOptions.of(dict(stop='', logprobs=99, length_penalty=1))
  assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize('options', [dict(n=2), dict(best_of=3), dict(n=2, best_of=3)])
def test_several_greedy_texts_of_a_prompt_are_refused(options):
  with pytest.raises(ConfigError, match='with temperature=0: greedy texts'):
    make(ABC).complete('a', temperature=0, **options)


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(logit_bias={3: 1}), 'logit_bias: the id 3 is not there; expected.* 0 to 2'),
    (dict(temperature=0, typical_p=0.5), 'typical_p=0.5 with temperature=0'),
    (dict(repetition_penalty=float('nan')), 'repetition_penalty=nan: expected'),
    (
      dict(max_new_tokens=40),
      'max_new_tokens=40 after a prompt of 1 .* at most 32',
    ),
    (dict(seed=None), 'seed=None: expected a whole number'),
  ],
)
def test_what_the_model_cannot_do_is_named(options, message):
  with pytest.raises(ConfigError, match=message):
    make(ABC).generate('a', **options)


def test_a_prompt_longer_than_the_positions_is_refused():
  with pytest.raises(ConfigError, match='a prompt of 33 tokens.*shorten the prompt'):
    make(ABC).generate('a' * 33)


@pytest.mark.slow
def test_the_length_left_out_is_what_the_positions_leave():
  assert len(make(ABC).generate('ab')) == 31


@pytest.mark.slow
def test_greedy_by_hand_goes_before_typical_of_the_config():
  typical = make(ABC, inference__typical_p=0.5)
  settings = dict(temperature=0, max_new_tokens=9)
  assert typical.generate('a', **settings) == make(ABC).generate('a', **settings)
