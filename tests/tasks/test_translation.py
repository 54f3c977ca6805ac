"""Translations: BLEU and chrF of the package, with their signatures."""

import pytest

from gpt_jax.examples.record import Record
from tests.tasks import text_tasks

TARGETS = [['Der Laden öffnet um acht.'], ['Es regnet heute.', 'Heute regnet es.']]
TEXTS = ['Der Laden öffnet um neun.', 'Heute regnet es.']


def test_bleu_and_chrf_are_those_of_the_package():
  sacrebleu = pytest.importorskip(
    'sacrebleu', reason='sacrebleu is missing: pip install sacrebleu'
  )
  task = text_tasks.task_of('translation')
  records = [Record({'source': 'x', 'targets': one}, '') for one in TARGETS]
  scores = task.score(records, [{'text': text} for text in TEXTS])
  references = [[one[0] for one in TARGETS], [None, TARGETS[1][1]]]
  assert scores.metrics['bleu'] == pytest.approx(
    sacrebleu.corpus_bleu(TEXTS, references).score
  )
  assert scores.metrics['chrf'] == pytest.approx(
    sacrebleu.corpus_chrf(TEXTS, references).score
  )
  assert 'tok:13a' in scores.details['bleu_signature']


def test_chinese_is_counted_by_characters():
  pytest.importorskip('sacrebleu', reason='sacrebleu is missing: pip install sacrebleu')
  options = {
    'task.options.template': 'translate-en-zh',
    'task.options.tokenize': 'zh',
  }
  task = text_tasks.task_of('translation', options)
  records = [Record({'source': 'x', 'targets': ['商店八点开门。']}, '')]
  scores = task.score(records, [{'text': '商店八点开门。'}])
  assert scores.metrics['bleu'] == pytest.approx(100)
  assert 'tok:zh' in scores.details['bleu_signature']


def test_the_baseline_copies_the_source():
  task = text_tasks.task_of('translation')
  found = task.baselines([], [Record({'source': ' a b '}, '')])
  assert found == {'the source itself': [{'text': 'a b'}]}
