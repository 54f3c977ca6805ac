"""The answer is the sentence that shares most words with the question."""

import json

import pytest

from gpt_jax.baselines.nearest_answer import nearest_answer

CONTEXT = 'The river is long. In Spring the river floods the old town. Boats are rare.'


def test_the_sentence_with_most_words_of_the_question_is_given():
  (answer,) = nearest_answer([CONTEXT], ['When does the river flood the town?'])
  assert answer['text'] == 'In Spring the river floods the old town.'
  assert CONTEXT[answer['start'] :].startswith(answer['text'])


def test_of_equal_sentences_the_shortest_then_the_first_counts():
  context = 'Red is a warm colour. Red is warm. Blue is cold.'
  (answer,) = nearest_answer([context], ['red?'])
  assert answer['text'] == 'Red is warm.'
  (answer,) = nearest_answer(['One two. Two one.'], ['nothing'])
  assert answer['start'] == 0


def test_chinese_questions_are_compared_by_characters():
  (answer,) = nearest_answer(['长江很长。北京是中国的首都。'], ['中国首都是哪里？'])
  assert answer == dict(text='北京是中国的首都。', start=5)


def test_a_context_without_text_gives_no_answer():
  assert nearest_answer(['  '], ['who?']) == [dict(text='', start=0)]


@pytest.mark.shared
def test_most_sentences_contain_the_answer(shared_data):
  path = shared_data / 'squad' / 'squad_v1.1_dev_subset.en.json'
  contexts, questions, answers = [], [], []
  for article in json.loads(path.read_text())['data']:
    for paragraph in article['paragraphs']:
      for asked in paragraph['qas']:
        contexts.append(paragraph['context'])
        questions.append(asked['question'])
        answers.append([one['text'] for one in asked['answers']])
  found = nearest_answer(contexts, questions)
  hits = [
    any(answer in one['text'] for answer in own)
    for own, one in zip(answers, found, strict=True)
  ]
  assert sum(hits) / len(hits) > 0.75
