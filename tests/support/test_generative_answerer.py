"""Answers of a language model, held to the passage."""

import pytest

from gpt_jax.support import answerers, generative_answerer
from tests.support import shop


def test_spans_are_words_of_one_sentence():
  found = generative_answerer.spans_of('Ann left. Bob-Lee paid 5.90.', 'en', ' ')
  assert found == [
    ' Ann', ' Ann left', ' left', ' Bob-Lee', ' Bob-Lee paid', ' Bob-Lee paid 5.90',
    ' paid', ' paid 5.90', ' 5.90',
  ]  # fmt: skip
  found = generative_answerer.spans_of('每年9元。', 'zh')
  assert found == [
    '每',
    '每年',
    '每年9',
    '每年9元',
    '年',
    '年9',
    '年9元',
    '9',
    '9元',
    '元',
  ]


def test_prompts_are_solved_examples_and_the_question():
  prompt = generative_answerer.prompt_of('Who?', 'Ann left.', 'en')
  assert prompt.endswith(
    'Text: Ann left.\nQuestion: Who?\nAnswer, in words of the text:'
  )
  assert ' nine euros a year\n\n' in prompt
  assert '每年九元\n\n' in generative_answerer.prompt_of('谁？', '安走了。', 'zh')


@pytest.mark.slow
def test_what_is_written_stands_in_the_passage(finished_run, tmp_path):
  made = answerers.open_answerer(finished_run)
  searcher = shop.make_searcher(tmp_path, with_vectors=False)
  items = [(text, searcher.search(text, 1)) for text, _, _ in shop.ASKED[:2]]
  for (_, hits), found in zip(items, made.answer_many(items), strict=True):
    assert found.text and found.text in hits[0].passage.text
    assert found.log_prob < 0
