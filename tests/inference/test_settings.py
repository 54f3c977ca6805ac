"""Settings that cannot be are named before anything runs, all at once."""

import re

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.settings import MAX_BIASES, Sampling


@pytest.mark.parametrize(
  'field, value',
  [
    ('temperature', -1.0),
    ('temperature', '0.8'),
    ('temperature', None),
    ('temperature', float('nan')),
    ('temperature', float('inf')),
    ('top_k', True),
    ('top_k', -1),
    ('top_k', 1.5),
    ('top_p', [0.5]),
    ('top_p', 1.1),
    ('top_p', float('nan')),
    ('min_p', -0.1),
    ('min_p', float('nan')),
    ('typical_p', 0),
    ('typical_p', 1.5),
    ('typical_p', float('nan')),
    ('repetition_penalty', 0),
    ('repetition_penalty', -1.2),
    ('repetition_penalty', float('nan')),
    ('presence_penalty', float('inf')),
    ('frequency_penalty', float('nan')),
    ('frequency_penalty', '1'),
  ],
)
def test_settings_out_of_range_are_named(field, value):
  with pytest.raises(ConfigError, match=re.escape(f'{field}={value!r}: expected')):
    Sampling(**{field: value})


@pytest.mark.parametrize(
  'bias, message',
  [
    ({-1: 2.0}, 'the id -1; expected a token id'),
    ({'a': 2.0}, "the id 'a'; expected a token id"),
    ({3: float('nan')}, r'logit_bias\[3\]=nan: expected a number'),
    ({3: float('-inf')}, r'logit_bias\[3\]=-inf: expected.*-1000 rules an id out'),
    (dict.fromkeys(range(MAX_BIASES + 1), 1), f'at most {MAX_BIASES}'),
    ('3:1', 'expected {id: number}'),
  ],
)
def test_a_bias_that_cannot_be_is_named(bias, message):
  with pytest.raises(ConfigError, match=message):
    Sampling(logit_bias=bias)


def test_all_problems_are_told_at_once():
  with pytest.raises(ConfigError) as error:
    Sampling(temperature=-1, min_p=2, logit_bias={-1: 0})
  assert str(error.value).count('\n') == 2


@pytest.mark.parametrize(
  'settings, message',
  [
    (dict(typical_p=0.9), 'typical_p=0.9 with temperature=0: greedy'),
    (
      dict(repetition_penalty=1.2, presence_penalty=-1),
      'repetition_penalty=1.2 asks for less repetition, presence_penalty=-1 for more',
    ),
    (
      dict(repetition_penalty=0.9, frequency_penalty=0.5),
      'frequency_penalty=0.5 asks for less repetition, repetition_penalty=0.9 for more',
    ),
    (
      dict(presence_penalty=-1, frequency_penalty=2),
      'frequency_penalty=2 asks for less repetition, presence_penalty=-1 for more',
    ),
  ],
)
def test_settings_that_contradict_each_other_are_named(settings, message):
  with pytest.raises(ConfigError, match=message):
    Sampling(**settings)


def test_a_bias_may_come_in_any_order_and_as_numpy_numbers():
  one = Sampling(logit_bias={5: 1, 2: np.float32(0.5)})
  assert one == Sampling(logit_bias={np.int64(2): 0.5, 5: 1.0})
  assert hash(one) == hash(Sampling(logit_bias=[(2, 0.5), (5, 1)]))
