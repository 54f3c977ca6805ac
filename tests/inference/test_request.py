"""Requests say what is wrong with them before anything is compiled."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.request import Request, identities, make_requests
from gpt_jax.inference.settings import Sampling


def test_a_setting_is_one_value_or_one_for_each_prompt():
  hot = Sampling(temperature=2.0)
  requests = make_requests(
    [[1], [2, 3]], max_new_tokens=[4, 5], sampling=hot, seed=[7, 8], stop_ids=(9, 10)
  )
  assert [request.prompt_ids.tolist() for request in requests] == [[1], [2, 3]]
  assert [request.max_new_tokens for request in requests] == [4, 5]
  assert [request.seed for request in requests] == [7, 8]
  assert {request.sampling for request in requests} == {hot}
  assert {request.stop_ids for request in requests} == {(9, 10)}


def test_a_list_of_another_length_is_named():
  with pytest.raises(ConfigError, match='seed: 3 values for 2 prompts'):
    make_requests([[1], [2]], max_new_tokens=4, seed=[1, 2, 3])


def test_only_the_same_request_counts_as_given_before():
  requests = make_requests([[1], [1], [1]], max_new_tokens=4, seed=[1, 2, 1])
  identity_B2 = identities(requests)
  assert len(set(identity_B2[:, 0])) == 1
  assert identity_B2[:, 1].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('max_new_tokens', -1, 'max_new_tokens=-1: expected 0 or more'),
    ('max_new_tokens', 2.5, 'max_new_tokens=2.5: expected a whole number'),
    ('max_new_tokens', '5', "max_new_tokens='5': expected a whole number"),
    ('max_new_tokens', True, 'max_new_tokens=True: expected a whole number'),
    ('seed', None, 'seed=None: expected a whole number'),
    ('seed', 1.0, r'seed=1\.0: expected a whole number'),
    ('prompt_ids', [0.5], r'prompt: expected token ids.*0\.5'),
    ('prompt_ids', 'ab', "prompt: expected token ids.*'ab'"),
    ('prompt_ids', [2**31], 'prompt: ids from 2147483648'),
    ('prompt_ids', [[1], [2, 3]], 'prompt: expected rows of token ids, equally long'),
  ],
)
def test_values_of_the_wrong_kind_are_named(field, value, message):
  with pytest.raises(ConfigError, match=message):
    Request(**{'prompt_ids': [1], 'max_new_tokens': 1, field: value})


def test_whole_numbers_of_numpy_are_whole_numbers():
  request = Request(
    prompt_ids=np.array([1]), max_new_tokens=np.int64(3), seed=np.uint8(2)
  )
  assert (request.max_new_tokens, request.seed) == (3, 2)
