"""ROUGE is that of rouge-score; n-grams counted by hand agree."""

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.evaluation.summary_scores import summary_scores

package = pytest.importorskip('rouge_score.rouge_scorer', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra

REFERENCES = [
  ['The ministers are discussing new taxes.', 'A discussion of taxes.'],
  ['It rained all day in Berlin.'],
]
PREDICTED = ['The minister discussed taxes.', 'In Berlin it rained.']


def test_one_reference_scores_as_counted_by_hand():
  metrics = summary_scores([['a b c d']], ['a c b']).metrics
  # 3 of 3 and 3 of 4 words; no pair of words; a b or a c in order.
  assert metrics == pytest.approx(
    {'rouge1': 2 * 3 / 7, 'rouge2': 0.0, 'rougeL': 2 * 2 / 7}
  )


def test_several_references_give_the_best_and_the_mean():
  scores = summary_scores(REFERENCES, PREDICTED)
  scorer = package.RougeScorer(['rouge1', 'rouge2', 'rougeL'], use_stemmer=True)
  for name in ('rouge1', 'rouge2', 'rougeL'):
    values = [
      [scorer.score(text, guess)[name].fmeasure for text in texts]
      for texts, guess in zip(REFERENCES, PREDICTED, strict=True)
    ]
    best = sum(map(max, values)) / 2
    assert scores.metrics[name] == pytest.approx(best)
    mean = sum(sum(own) / len(own) for own in values) / 2
    assert scores.metrics[f'{name}_mean'] == pytest.approx(mean)
    multi = [
      scorer.score_multi(texts, guess)[name].fmeasure
      for texts, guess in zip(REFERENCES, PREDICTED, strict=True)
    ]
    assert best == pytest.approx(sum(multi) / 2)
  assert scores.details == dict(language='en', max_references=2, stemmer=True)


def test_english_words_are_stemmed():
  assert (
    summary_scores([['discussing taxes']], ['discussed tax']).metrics['rouge1'] == 1
  )


def test_chinese_summaries_are_compared_by_characters():
  metrics = summary_scores([['我爱北京。']], ['我爱上海 NBA'], 'zh').metrics
  # 2 of 5 and 2 of 4 tokens; 1 of 4 and 1 of 3 pairs.
  assert metrics == pytest.approx(
    {'rouge1': 2 * 2 / 9, 'rouge2': 2 * 1 / 7, 'rougeL': 2 * 2 / 9}
  )
  # The English tokenizer sees no Chinese at all.
  assert summary_scores([['我爱北京']], ['我爱北京']).metrics['rouge1'] == 0.0


def test_an_empty_summary_scores_zero():
  assert set(summary_scores([['a b']], ['']).metrics.values()) == {0.0}


def test_what_cannot_be_scored_is_refused():
  with pytest.raises(DataError, match='there are no examples'):
    summary_scores([], [])
  with pytest.raises(DataError, match=r"references\[0\]='a b': expected a list"):
    summary_scores(['a b'], ['a b'])
  with pytest.raises(DataError, match=r'references\[1\]=\[\]'):
    summary_scores([['a'], []], ['a', 'b'])
  with pytest.raises(ConfigError, match="language='de'"):
    summary_scores([['a']], ['a'], 'de')
