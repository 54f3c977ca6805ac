"""A reply is that of the most similar request of training."""

import pytest

from gpt_jax.baselines.nearest_reply import nearest_reply
from gpt_jax.core.errors import DataError

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra

REQUESTS = [
  'Name three red fruits.',
  'Write a poem about rain.',
  'Translate to French.',
]
REPLIES = ['Apples.', 'Drops.', 'Bonjour.']


def test_the_request_with_the_same_rare_words_is_nearest():
  asked = ['A poem on rain, please', 'What are red fruits?', 'French']
  assert nearest_reply(REQUESTS, REPLIES, asked) == ['Drops.', 'Apples.', 'Bonjour.']


def test_characters_count_where_text_is_chinese():
  requests, replies = ['写一首关于雨的诗', '列出三种水果'], ['雨', '苹果']
  assert nearest_reply(requests, replies, ['有哪些水果？']) == ['苹果']


def test_nothing_to_compare_with_is_no_error():
  assert nearest_reply(['?', '!'], ['a', 'b'], ['x']) == ['']
  with pytest.raises(DataError, match='nearest-reply'):
    nearest_reply(['a'], [], ['x'])
