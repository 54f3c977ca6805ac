"""Chinese tokens are characters; a text is Chinese when half of its letters are."""

import pytest

from gpt_jax.evaluation import chinese


@pytest.mark.parametrize(
  'text, tokens',
  [
    ('我爱北京。', ['我', '爱', '北', '京']),
    ('NBA的2008年，Beijing！', ['nba', '的', '2008', '年', 'beijing']),
    ('《红楼梦》 — 曹雪芹', list('红楼梦曹雪芹')),
    ('ＡＢ，１２', ['ａｂ', '１２']),
    ('\U00020000字', ['\U00020000', '字']),
    ('……！', []),
  ],
)
def test_tokens_are_characters_and_foreign_words(text, tokens):
  assert chinese.character_tokens(text) == tokens


@pytest.mark.parametrize(
  'texts, expected',
  [
    (['我爱北京'], True),
    (['I love Beijing'], False),
    (['NBA 我爱北京', '上海'], True),
    (['The 北京 office'], False),
    (['123 !'], False),
    ([], False),
  ],
)
def test_a_text_is_chinese_by_its_letters(texts, expected):
  assert chinese.is_chinese(texts) is expected
