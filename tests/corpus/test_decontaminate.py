"""Planted leaks are found in training documents, and only there."""

import json

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import decontaminate
from gpt_jax.corpus.step import Context
from tests import tiny_runs
from tests.corpus import texts

EVALUATION = texts.prose(1, 60).split()
LEAK = ' '.join(EVALUATION[20:33])  # 13 words
SHORT = 'what is the tall grey animal with a trunk'  # 9 words


def step(**options):
  sets = {'prose': [' '.join(EVALUATION)], 'quiz': [SHORT, 'too short']}
  return decontaminate.Decontaminate(decontaminate.Options(**options), sets)


@pytest.mark.parametrize(
  'text, reason',
  [
    (texts.prose(2, 300), None),
    (f'{texts.prose(2, 100)} {LEAK} {texts.prose(3, 100)}', 'overlaps with prose'),
    (LEAK.upper().replace(' ', ' - '), 'overlaps with prose'),
    (' '.join(LEAK.split()[:12]), None),
    (f'{texts.prose(2, 50)}. {SHORT}?', 'overlaps with quiz'),
    (f'{texts.prose(2, 50)} too short', None),
    ('', None),
  ],
)
def test_a_run_of_words_of_a_set_is_a_leak(text, reason):
  assert step().keep(texts.document(text)) == reason
  assert step().keep(texts.document(text, split='validation')) is None


def test_long_documents_may_have_a_small_share():
  text = f'{texts.prose(2, 1000)} {LEAK} {texts.prose(3, 987)}'  # 13 of 2,000 words
  assert step(max_share=0.0064).keep(texts.document(text))
  assert step(max_share=0.0066).keep(texts.document(text)) is None


def test_what_is_too_short_to_be_looked_for_is_counted():
  sets = step().describe()['sets']
  assert sets['quiz'] == {'texts': 2, 'too_short': 1, 'ngrams': 1}
  assert sets['prose'] == {'texts': 1, 'too_short': 0, 'ngrams': 48}


def test_sets_are_those_of_eval_sets(tmp_path):
  questions = [{'question': SHORT, 'answer': 'an elephant'}]
  (tmp_path / 'quiz.jsonl').write_text('\n'.join(map(json.dumps, questions)))
  config = tiny_runs.tiny_config(
    {
      'eval.sets': {
        'quiz': {
          'source': 'jsonl', 'path': str(tmp_path / 'quiz.jsonl'), 'split': 'all',
          'text_field': 'question',
        }
      },
      'checkpoint.best_metric': 'quiz/loss',
    }
  )  # fmt: skip
  made = decontaminate.make(decontaminate.Options(), Context(config, tmp_path))
  assert made.keep(texts.document(SHORT)) == 'overlaps with quiz'
  with pytest.raises(ConfigError, match="no 'quizz' in eval.sets; did you mean 'quiz'"):
    decontaminate.make(
      decontaminate.Options(sets=('quizz',)), Context(config, tmp_path)
    )
