"""Logistic regression on TF-IDF of words and pairs of words, by scikit-learn."""

import dataclasses
from typing import Any

import numpy as np

from gpt_jax.core import extras
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned, chinese

METRIC = 'The TF-IDF baseline'
WORDS = dict(analyzer='word', ngram_range=(1, 2), token_pattern=r'(?u)\b\w+\b')
CHARACTERS = dict(analyzer='char', ngram_range=(1, 3))
"""Chinese has no spaces between words."""
INVERSE_REGULARIZATION = 10.0
"""C of the regression. TF-IDF rows have norm 1, so that 1 leaves weights too small."""
MAX_ITERATIONS = 1000


@dataclasses.dataclass(frozen=True)
class TfidfClassifier:
  """A fitted vectorizer and classifier."""

  names: tuple[str, ...]
  vectorizer: Any
  classifier: Any

  def probabilities(self, texts):
    """Returns `probabilities_NC`, 0 for a class that the training data lacks."""
    found = np.zeros((len(texts), len(self.names)))
    if len(texts):
      features = self.vectorizer.transform(texts)
      found[:, self.classifier.classes_] = self.classifier.predict_proba(features)
    return found

  def predict(self, texts):
    """Returns the likeliest class of each text, by its name."""
    return [self.names[label] for label in self.probabilities(texts).argmax(axis=-1)]


def fit(texts, labels, names):
  """Returns the `TfidfClassifier` of training `texts` and their `labels`.

  Features are 1- and 2-grams of words, or, when half of the letters are Chinese, 1- to
  3-grams of characters, with logarithmic counts. A pair of texts is given as one.

  Args:
    texts: N texts.
    labels: N labels, each a name or its position in `names`.
    names: the classes; the order of the probabilities.

  Raises DataError on no texts, other lengths, unknown labels, one class only, or texts
  without a word.
  """
  aligned.require_aligned(METRIC, texts=texts, labels=labels)
  ids_N = aligned.label_ids(METRIC, 'labels', labels, names)
  if len(np.unique(ids_N)) < 2:
    raise DataError(
      f'{METRIC}: all {len(ids_N)} training labels are {names[ids_N[0]]!r}; expected'
      ' two classes or more.'
    )
  load = dict(extra='tasks', package='scikit-learn', use=METRIC)
  text_features = extras.load('sklearn.feature_extraction.text', **load)
  linear_models = extras.load('sklearn.linear_model', **load)
  units = CHARACTERS if chinese.is_chinese(texts) else WORDS
  vectorizer = text_features.TfidfVectorizer(sublinear_tf=True, **units)
  try:
    features = vectorizer.fit_transform(texts)
  except ValueError as error:  # an empty vocabulary
    raise DataError(f'{METRIC}: no text has a word to learn from.') from error
  classifier = linear_models.LogisticRegression(
    C=INVERSE_REGULARIZATION, max_iter=MAX_ITERATIONS
  )
  return TfidfClassifier(tuple(names), vectorizer, classifier.fit(features, ids_N))
