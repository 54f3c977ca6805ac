"""Summaries: ROUGE of the package, baselines of leads."""

import numpy as np
import pytest

from gpt_jax.examples.record import Record
from gpt_jax.examples.splits import load
from tests.tasks import text_tasks

SOURCE = 'First line. Second one.\nThird? Fourth. Fifth.'


def test_rouge_is_that_of_the_package_by_the_best_reference():
  rouge = pytest.importorskip(
    'rouge_score.rouge_scorer', reason='rouge-score is missing: pip install rouge-score'
  )
  task = text_tasks.task_of('summarization')
  targets = ['The cat sat down.', 'A cat took a seat.']
  record = Record({'source': SOURCE, 'targets': targets}, '')
  scores = task.score([record], [{'text': 'A cat sat.'}]).metrics
  scorer = rouge.RougeScorer(['rouge1', 'rouge2', 'rougeL'], use_stemmer=True)
  each = [scorer.score(target, 'A cat sat.') for target in targets]
  for name in ('rouge1', 'rouge2', 'rougeL'):
    values = [one[name].fmeasure for one in each]
    assert scores[name] == pytest.approx(max(values))
    assert scores[f'{name}_mean'] == pytest.approx(np.mean(values))


def test_baselines_are_leads_and_the_source():
  task = text_tasks.task_of('summarization')
  found = task.baselines([], [Record({'source': SOURCE}, '')])
  texts = {name: one['text'] for name, (one,) in found.items()}
  assert texts['first 3 sentences'] == 'First line. Second one. Third?'
  assert texts['first 3 lines'] == 'First line. Second one. Third? Fourth. Fifth.'
  assert texts['the source itself'] == SOURCE


@pytest.mark.shared
def test_dialogsum_rows_bear_loss_on_the_summary(shared_data):
  (record, *_) = load(
    {'all': 'dialogsum/dialogsum.test.jsonl'}, 'dialogsum', {}, 'all',
    data_dir=str(shared_data), limit=3,
  )  # fmt: skip
  options = {'task.options.template': 'summarize-dialogue-en', 'data.seq_len': 4096}
  task = text_tasks.task_of('summarization', options)
  task.check(record)
  (row,), encoder = text_tasks.rows_of(task, record.values)
  target = record.values['targets'][0]
  assert text_tasks.with_loss(row, encoder.tokenizer) == f' {target}[END]'
  assert len(task.gold(record)) == 3
