"""TF-IDF with logistic regression learns words, pairs of words, and Chinese."""

import numpy as np
import pytest

from gpt_jax.baselines import tfidf
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation.class_scores import class_scores

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra

NAMES = ['bad', 'good']


def test_words_decide():
  texts = ['a fine film', 'fine acting', 'a dull film', 'dull acting'] * 3
  model = tfidf.fit(texts, ['good', 'good', 'bad', 'bad'] * 3, NAMES)
  assert model.predict(['a fine plot', 'dull']) == ['good', 'bad']
  assert model.predict([]) == []


def test_pairs_of_words_decide_where_single_words_do_not():
  texts = ['not good but bad', 'not bad but good'] * 5
  model = tfidf.fit(texts, ['bad', 'good'] * 5, NAMES)
  assert model.predict(texts[:2]) == ['bad', 'good']


def test_chinese_is_read_by_characters():
  texts = ['房间很干净', '服务很好', '房间很脏', '服务很差'] * 3
  model = tfidf.fit(texts, [1, 1, 0, 0] * 3, NAMES)
  assert model.predict(['干净', '很差的房间']) == ['good', 'bad']
  assert '干净' in model.vectorizer.vocabulary_


def test_probabilities_add_up_and_stand_in_the_order_of_names():
  texts = ['red', 'blue', 'red one', 'blue one']
  model = tfidf.fit(texts, ['r', 'b', 'r', 'b'], ['r', 'unseen', 'b'])
  probabilities_NC = model.probabilities(['red', 'blue', 'nothing known'])
  np.testing.assert_allclose(probabilities_NC.sum(axis=1), 1)
  assert (probabilities_NC[:, 1] == 0).all()
  assert probabilities_NC[:2].argmax(axis=1).tolist() == [0, 2]
  # Without a known word only the intercept is left, and the classes are equally many.
  assert probabilities_NC[2, 0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
  'texts, labels, message',
  [
    ([], [], 'there are no examples'),
    (['a'], ['good', 'bad'], '1 of texts, 2 of labels'),
    (['a', 'b'], ['good', 'good'], "all 2 training labels are 'good'"),
    (['a', 'b'], ['good', 'ugly'], r"labels\[1\]='ugly'"),
    (['!', '?'], ['good', 'bad'], 'no text has a word'),
  ],
)
def test_what_cannot_be_learnt_from_is_refused(texts, labels, message):
  with pytest.raises(DataError, match=message):
    tfidf.fit(texts, labels, NAMES)


@pytest.mark.shared
@pytest.mark.slow
def test_sentiment_of_films_is_found_in_four_of_five(shared_data):
  def read(split):
    lines = (shared_data / 'sst2' / f'{split}.tsv').read_text().splitlines()
    return zip(*(line.rsplit('\t', 1) for line in lines), strict=True)

  texts, labels = read('train')
  model = tfidf.fit(texts, labels, ['0', '1'])
  texts, labels = read('dev')
  scores = class_scores(labels, model.predict(texts), ['0', '1'])
  assert 0.79 < scores.metrics['accuracy'] < 0.82
