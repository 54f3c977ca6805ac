"""BLEU and chrF are those of sacreBLEU; clipped n-grams by hand agree."""

import math

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.evaluation.translation_scores import TOKENIZERS, translation_scores

sacrebleu = pytest.importorskip('sacrebleu', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra

REFERENCES = ['The cat sat on the mat.', 'There is a dog in the garden today.']
PREDICTED = ['The cat sat on a mat.', 'There is a dog in the garden.']


def test_bleu_and_chrf_are_those_of_the_package():
  scores = translation_scores([[text] for text in REFERENCES], PREDICTED)
  bleu = sacrebleu.corpus_bleu(PREDICTED, [REFERENCES])
  assert scores.metrics['bleu'] == bleu.score
  assert scores.metrics['chrf'] == sacrebleu.corpus_chrf(PREDICTED, [REFERENCES]).score
  assert scores.details['precisions'] == bleu.precisions
  assert scores.details['brevity_penalty'] == bleu.bp
  assert 'tok:13a' in scores.details['bleu_signature']
  assert f'version:{sacrebleu.__version__}' in scores.details['bleu_signature']
  assert 'nc:6' in scores.details['chrf_signature']


def test_bleu_is_the_published_formula():
  # Ten words of which all but `x` are in the reference of eleven, in one piece.
  metrics = translation_scores(
    [['a b c d e f g h i j k']], ['a b c d e f g h i x'], 'none'
  ).metrics
  precisions = [9 / 10, 8 / 9, 7 / 8, 6 / 7]
  expected = math.exp(1 - 11 / 10) * math.prod(precisions) ** 0.25
  assert metrics['bleu'] == pytest.approx(100 * expected)


def test_examples_may_have_different_numbers_of_references():
  scores = translation_scores(
    [REFERENCES, ['Es regnet.', 'Regen faellt.', 'Nass.']],
    [REFERENCES[1], 'Regen faellt.'],
  )
  assert scores.metrics['bleu'] == pytest.approx(100)
  assert scores.metrics['chrf'] == pytest.approx(100)


def test_chinese_is_split_into_characters():
  references, predicted = [['我爱北京天安门。']], ['我爱北京天安门！']
  metrics = translation_scores(references, predicted, 'zh').metrics
  expected = math.prod([7 / 8, 6 / 7, 5 / 6, 4 / 5]) ** 0.25
  assert metrics['bleu'] == pytest.approx(100 * expected)
  assert translation_scores(references, predicted).metrics['bleu'] < 1e-6


@pytest.mark.parametrize('tokenize', TOKENIZERS)
def test_every_tokenizer_that_is_offered_works(tokenize):
  texts = [['The cat sat on the mat.']]
  scores = translation_scores(texts, texts[0], tokenize)
  assert scores.metrics['bleu'] == pytest.approx(100)
  assert f'tok:{tokenize}' in scores.details['bleu_signature']


def test_what_cannot_be_scored_is_refused():
  with pytest.raises(DataError, match='there are no examples'):
    translation_scores([], [])
  with pytest.raises(DataError, match='expected a list of at least one'):
    translation_scores([[]], ['a'])
  with pytest.raises(ConfigError, match="tokenize='flores200'.*13a, zh"):
    translation_scores([['a']], ['a'], 'flores200')
