"""Planted leaks are found in training documents, and only there."""

import dataclasses
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
    (f'{texts.prose(2, 30)} {LEAK} {texts.prose(3, 30)}', 'overlaps with prose'),
    (LEAK.upper().replace(' ', ' - '), 'overlaps with prose'),
    (' '.join(LEAK.split()[:12]), None),
    (f'{texts.prose(2, 30)}. {SHORT}?', 'overlaps with quiz'),
    (f'{texts.prose(2, 50)} too short', None),
    ('', None),
  ],
)
def test_a_run_of_words_of_a_set_is_a_leak(text, reason):
  assert step().keep(texts.document(text)) == reason
  assert step().keep(texts.document(text, split='validation')) is None


def test_a_leak_is_cut_out_with_what_is_around_it():
  """Letters outside ASCII and case move no cut."""
  before, after = 'ü' * 50 + texts.prose(2, 300), texts.prose(3, 300)
  document = texts.document(f'{before} {LEAK.title()} {after}')
  made = step()
  assert made.keep(document) is None
  pieces, reason = made.cut(document)
  assert reason == 'passages of prose'
  assert [document.text[start:end] for start, end in pieces] == [
    f'{before} '[:-200],
    f' {after}'[200:],
  ]
  assert step().cut(texts.document(texts.prose(2, 300))) is None


def test_short_pieces_go_and_so_do_documents_in_many():
  parts = [texts.prose(i, 120) for i in range(2, 5)]
  document = texts.document(f' {LEAK} '.join(parts))
  pieces, _ = step(min_piece_chars=1).cut(document)
  assert len(pieces) == 3
  length = len(parts[1]) + 2 - 400  # of the middle one
  assert len(step(min_piece_chars=length).cut(document)[0]) == 3
  pieces, _ = step(min_piece_chars=length + 1).cut(document)
  assert (0, 0) not in pieces and all(end - start > length for start, end in pieces)
  assert step(min_piece_chars=1, max_pieces=3).keep(document) is None
  gone = step(min_piece_chars=1, max_pieces=2).keep(document)
  assert gone == 'overlaps with prose'


def test_records_of_fields_are_not_cut_but_go():
  text = f'{texts.prose(2, 300)} {LEAK} {texts.prose(3, 300)}'
  document = dataclasses.replace(texts.document(text), is_divisible=False)
  assert step().keep(document) == 'overlaps with prose'


def test_what_is_too_short_to_be_looked_for_is_counted():
  found = step().describe()['looked_for']
  assert found['quiz'] == {'texts': 2, 'too_short': 1, 'ngrams': 1}
  assert found['prose'] == {'texts': 1, 'too_short': 0, 'ngrams': 48}


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
