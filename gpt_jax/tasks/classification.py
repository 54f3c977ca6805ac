"""Classes of texts: sentiment, topic, or any other; one label a text."""

import numpy as np

from gpt_jax.objectives.class_labels import NO_LABEL
from gpt_jax.tasks.task import Row, Task


class Classification(Task):
  """A task head over the pooled text; objective class_labels."""

  name = 'classification'
  inputs = ('text',)
  fields = ('labels', 'token_types')
  metrics = ('accuracy', 'macro_f1', 'weighted_f1', 'f1', 'calibration_error')
  has_labels = True
  packages = (('sklearn.metrics', 'scikit-learn'),)
  may_shrink: tuple[int, ...] | None = None
  """Numbers of the parts that lose tokens where a row is too long; None: all."""

  def __init__(self, config):
    super().__init__(config)
    if len(self.label_names) not in (0, 2):  # there is no second of two labels
      self.metrics = tuple(name for name in self.metrics if name != 'f1')

  def parts(self, record):
    """Returns the texts of a record, in the order in which the model reads them."""
    return [self.text_of(record, field) for field in self.inputs]

  def encode(self, record, encoder, is_training):
    del is_training
    label = max(self.label_id(record), 0)  # of new records: where the head answers
    texts = [encoder.ids(text) for text in self.parts(record)]
    versions = encoder.fit(texts, self.may_shrink)
    return [_row(encoder, parts, label) for parts in versions]

  def decode(self, record, rows, outputs):
    del record, rows
    log_probs_RC = np.stack([_log_softmax(each['outputs']) for each in outputs])
    # Windows of one text: the mean of their probabilities.
    return self._prediction(np.exp(log_probs_RC).mean(axis=0))

  def score(self, records, predictions):
    from gpt_jax.evaluation.class_scores import class_scores

    return class_scores(
      [str(self.gold(record)) for record in records],
      [one['label'] for one in predictions],
      self.label_names,
      _probabilities(predictions, self.label_names),
    )

  def baselines(self, train, records):
    from gpt_jax.baselines import majority, tfidf

    texts, asked = self._joined(train), self._joined(records)
    labels = [str(self.gold(record)) for record in train]
    fitted = {
      'majority class': majority.fit(labels, self.label_names),
      'TF-IDF + logistic regression': tfidf.fit(texts, labels, self.label_names),
    }
    return {
      name: [self._prediction(probs_C) for probs_C in method.probabilities(asked)]
      for name, method in fitted.items()
    }

  def _prediction(self, probs_C):
    probabilities = dict(zip(self.label_names, map(float, probs_C), strict=True))
    return dict(
      label=self.label_names[int(np.argmax(probs_C))], probabilities=probabilities
    )

  def _joined(self, records):
    return [' '.join(self.parts(record)) for record in records]


def make(config):
  """Returns the task of a Config: a text and its label."""
  return Classification(config)


def _row(encoder, parts, label):
  tokens, types = encoder.frame(*parts)
  labels = np.full(len(tokens), NO_LABEL, np.int32)
  labels[-1] = label
  return Row(tokens, {'labels': labels, 'token_types': types})


def _log_softmax(x):
  x = np.asarray(x, np.float64)
  return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def _probabilities(predictions, names):
  return np.array(
    [[one['probabilities'][name] for name in names] for one in predictions]
  )
