"""Answers of a language model, found in the passage."""

import types

import pytest

from gpt_jax.retrieval.passages import Passage
from gpt_jax.retrieval.search import Hit
from gpt_jax.support import answer, answerers, generative_answerer
from tests.support import shop
from tests.tasks import small_tasks

TEXT = 'Postage costs 5 euros. Parcels take two days.'


class Writer:
  """A Run that writes what it is given, and keeps what it was asked."""

  def __init__(self, task, *texts):
    _, encoder = small_tasks.made('generative_qa', 'causal_lm', {'data.seq_len': 160})
    self.tokenizer = encoder.tokenizer
    self.config = small_tasks.config(task, 'causal_lm', {'data.seq_len': 160})
    self.texts, self.asked = list(texts), []

  def complete(self, asked, **options):
    assert options['stop'] == '\n' and options['temperature'] == 0
    self.asked += asked
    log_probs = [types.SimpleNamespace(log_prob=-0.5)] * 2
    return [
      [types.SimpleNamespace(text=f' {self.texts.pop(0)}', log_probs=log_probs)]
      for _ in asked
    ]


def read(run, *questions):
  made = generative_answerer.GenerativeAnswerer(run, 'a run')
  hits = [Hit(1, Passage('a.md', '', TEXT), 1.0, 1.0, 1.0)]
  return made.answer_many([(question, hits) for question in questions])


def test_an_answer_is_where_the_passage_says_what_was_written():
  run = Writer('dialogue', 'it costs 5 Euros!', 'Two days.', 'purple')
  found = read(run, 'a', 'b', 'c')
  assert [one.text for one in found] == ['costs 5 euros', 'two days', '']
  assert [one.log_prob for one in found] == [-1, -1, answer.LEAST]
  assert all(prompt.count('\nAnswer:') == 6 for prompt in run.asked)


def test_a_run_that_learned_to_answer_reads_what_it_learned_from():
  run = Writer('generative_qa', '5 euros', 'No answer')
  assert [one.text for one in read(run, 'a', 'b')] == ['5 euros', '']
  wanted = f'Text: {TEXT}\nQuestion: a\nAnswer, in words of the text:'
  assert run.asked[0] == wanted


def test_prompts_are_solved_examples_and_the_question():
  prompt = generative_answerer.prompt_of('Who?', 'Ann left.', 'en')
  assert prompt.endswith('Text: Ann left.\nQuestion: Who?\nAnswer:')
  assert ' nine euros a year\n\n' in prompt
  assert '每年九元\n\n' in generative_answerer.prompt_of('谁？', '安走了。', 'zh')


@pytest.mark.slow
def test_what_is_written_stands_in_the_passage(finished_run, tmp_path):
  made = answerers.open_answerer(finished_run)
  searcher = shop.make_searcher(tmp_path, with_vectors=False)
  items = [(text, searcher.search(text, 1)) for text, _, _ in shop.ASKED[:2]]
  for (_, hits), found in zip(items, made.answer_many(items), strict=True):
    assert found.text in hits[0].passage.text and found.log_prob < 0
