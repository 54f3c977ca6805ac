"""Topic and sentiment of texts, by runs that were fine-tuned for classes of texts."""

import dataclasses
from typing import Any

from gpt_jax import api
from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.opinion import shares
from gpt_jax.opinion.monitor import ALL
from gpt_jax.workdir import files
from gpt_jax.workdir.paths import Workdir

NEGATIVE = ('negative', 'neg')
"""Labels that are taken for the negative one without being told."""
SETS = ('test', 'validation')
"""Of scores.json; the first that is there: validation chose the step."""


@dataclasses.dataclass(frozen=True)
class Opinion:
  """What the heads say of a text."""

  topic: str
  is_negative: bool
  probability: float
  """Of the negative class."""


class Heads:
  """A run for sentiment and, perhaps, one for topics."""

  def __init__(self, sentiment, topic=None, negative=None):
    """Loads the runs of two workdirs; ConfigError for a run without such a head.

    `negative`: the label that counts; None: that of NEGATIVE which is there.
    """
    self.sentiment = api.load(sentiment)
    labels = _labels(self.sentiment, f'--sentiment={sentiment}')
    self.negative = _negative(labels, negative, f'--sentiment={sentiment}')
    self.topic = api.load(topic) if topic else None
    self.topics = _labels(self.topic, f'--topic={topic}') if self.topic else ()
    if ALL in self.topics:
      raise ConfigError(f'--topic={topic}: a class is named {ALL!r}; rename it.')
    self.rates = error_rates(sentiment, self.negative)

  def judge(self, texts):
    """Returns the Opinion of each text; None for one that is dropped as too long."""
    said: Any = self.sentiment.predict(texts)
    about: Any = self.topic.predict(texts) if self.topic else [None] * len(texts)
    return [
      None
      if one is None or (self.topic and other is None)
      else self._opinion(one, other)
      for one, other in zip(said, about, strict=True)
    ]

  def _opinion(self, said, about):
    return Opinion(
      about['label'] if about else ALL,
      said['label'] == self.negative,
      float(said['probabilities'][self.negative]),
    )


def _labels(run, flag):
  task = run.config.task
  labels = run.predictor.task.label_names if task.name else ()
  if task.name != 'classification' or not labels:
    raise ConfigError(
      f'{flag}: a run with task.name={task.name!r}; expected one that was fine-tuned'
      " for classes of texts (task.name='classification'), such as"
      ' `gpt-jax train --config=configs/finetune.py:sst2`.'
    )
  return tuple(labels)


def _negative(labels, negative, flag):
  if negative is None:
    found = [one for one in labels if one.casefold() in NEGATIVE]
    if len(found) == 1:
      return found[0]
  elif negative in labels:
    return negative
  given = '' if negative is None else f' has no class {negative!r},'
  raise ConfigError(
    f'{flag}:{given} its classes are {", ".join(labels)}; say which of them is the'
    ' negative one: --negative=NAME.'
  )


def error_rates(workdir, negative):
  """Returns the ErrorRates that scores.json of a run has, or None."""
  path = Workdir(workdir).scores
  try:
    sets = files.read_json(path)['sets']
  except (StorageError, KeyError):
    return None
  for name in SETS:
    found = sets.get(name, {})
    if 'confusion' in found and negative in found.get('names', ()):
      rates = shares.error_rates(found['names'], found['confusion'], negative)
      return rates if rates.youden > 0 else None
  return None
