"""Texts as they are: every token predicted once, bits per byte of whole texts."""

import math

import numpy as np
import pytest

import gpt_jax
from gpt_jax.core.errors import DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.evaluation.baselines import ngram_baselines
from gpt_jax.examples.record import Record
from gpt_jax.reports import task_report
from gpt_jax.train import score_run
from tests import tiny_runs
from tests.tasks import text_tasks

BYTES = ByteTokenizer()


def test_windows_predict_every_token_of_a_text_once():
  text = ''.join(chr(ord('a') + i % 26) for i in range(40))
  task = text_tasks.task_of('generation', {'data.seq_len': 16})
  rows, encoder = text_tasks.rows_of(task, {'text': text})
  targets = np.concatenate([row.tokens[1:] for row in rows])
  assert text_tasks.shown(targets, BYTES) == text + '[END]'
  assert rows[0].tokens[0] == BYTES.eos_id and max(len(r.tokens) for r in rows) == 16
  assert sum(int(row.fields['bytes'][1:].sum()) for row in rows) == len(text)
  assert encoder.counts.windowed == 1
  (row,), _ = text_tasks.rows_of(task, {'text': 'abc'})
  assert text_tasks.shown(row.tokens, BYTES) == '[END]abc[END]'


def test_bytes_are_those_of_the_text():
  task = text_tasks.task_of('generation')
  (row,), _ = text_tasks.rows_of(task, {'text': 'Größe 雨'})
  assert row.fields['bytes'].sum() == len('Größe 雨'.encode())


def test_a_record_without_text_is_refused():
  with pytest.raises(DataError, match="line 1: 'text' is empty"):
    text_tasks.task_of('generation').check(Record({'text': ' '}, 'a.txt, line 1'))


def test_its_baselines_are_n_grams_of_bytes():
  task = text_tasks.task_of('generation')
  train, held_out = ['abab' * 5, 'Größe'], ['abba', 'ab', 'Größen']
  records = [Record({'text': text}, 'a.txt') for text in held_out]
  found = task.baselines([Record({'text': text}, 'b.txt') for text in train], records)
  tokens = [list(''.join(texts).encode()) for texts in (train, held_out)]
  expected = ngram_baselines(*tokens, 256, bytes_in_eval=len(tokens[1]))
  bits = {one.name: one.bits_per_byte for one in expected}
  for order in (1, 3, 6):
    predictions = found[f'{order}-gram of bytes']
    scores = task.score(records, predictions).metrics
    assert scores == {'bits_per_byte': pytest.approx(bits[f'{order}-gram'])}
  assert task.score(records, []).metrics == {}


@pytest.mark.slow
def test_losses_are_those_of_the_texts_scored_one_by_one(tmp_path):
  texts = ['abcabc', 'bca', 'c' * 20, 'Größe']
  path = text_tasks.write_jsonl(tmp_path / 'a.jsonl', [{'text': t} for t in texts])
  settings = tiny_runs.tiny_config(
    text_tasks.SMALL
    | {
      'task.name': 'generation',
      'task.files': {'train': path, 'validation': path},
      'data.begin_token': '<|endoftext|>',
      'data.append_eos': False,
      'train.steps': 10,
      'eval.every_steps': 10,
    }
  )
  scores, lines = text_tasks.train(settings, tmp_path / 'run')
  assert lines == []
  found, num_bytes = scores['validation'], sum(len(text.encode()) for text in texts)
  assert found['tokens'] == num_bytes  # a token is a byte
  run = gpt_jax.load(tmp_path / 'run')
  nats = -sum(run.score('', text) for text in texts)
  assert found['loss'] * num_bytes == pytest.approx(nats, rel=1e-4)
  assert found['bits_per_byte'] == pytest.approx(found['loss'] / math.log(2), rel=1e-5)
  beside = score_run.score_run(tmp_path / 'run', with_baselines=True).task_baselines
  assert '6-gram of bytes' in beside['validation']
  report = task_report.make_report(tmp_path / 'run')
  assert '3-gram of bytes' in report.sets[0].baselines and report.notes == []
