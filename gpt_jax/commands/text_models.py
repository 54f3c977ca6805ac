"""Fine-tuned runs as functions of texts: a classifier, a finder of names."""

from typing import Any

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError


def open_classifier(workdir, label):
  """Returns `(texts) -> probability of the class `label` for each` by a run.

  Raises ConfigError for a run that classifies no texts, or that lacks the class.
  """
  run = _load(workdir, ('classification',), 'a classifier of texts')
  registry.choose(dict.fromkeys(run.predictor.task.label_names), label, 'class')

  def classify(texts):
    found: Any = run.predict(list(texts))
    return [0.0 if one is None else one['probabilities'][label] for one in found]

  return classify


def open_names(workdir, tags):
  """Returns `(texts) -> [[(start, end), ...], ...]`, what a run tags with `tags`.

  Raises ConfigError for a run that tags no words, or that has none of the tags.
  """
  run = _load(workdir, ('ner',), 'a tagger of words')
  task = run.predictor.task
  kinds = {name[2:] for name in task.label_names if name[:2] == 'B-'}
  if not kinds & set(tags):
    raise ConfigError(
      f'{workdir}: tags {", ".join(sorted(kinds))}, none of {", ".join(tags)}; say'
      ' which is a person (name_tags of a policy, --name_tags).'
    )

  def find(texts):
    words = [task.values_of(text)['words'] for text in texts]
    asked = [i for i, own in enumerate(words) if own]
    predictions: Any = run.predict([texts[i] for i in asked])
    spans: list[list[tuple[int, int]]] = [[] for _ in texts]
    for i, found in zip(asked, predictions, strict=True):
      places = _places(texts[i], words[i])
      spans[i] = [
        (places[one['start']][0], places[one['end'] - 1][1])
        for one in (found or {}).get('entities', ())
        if one['type'] in tags
      ]
    return spans

  return find


def _places(text, words):
  """Returns (start, end) of words in the text that they were taken from."""
  places, start = [], 0
  for word in words:
    start = text.index(word, start)
    places.append((start, start + len(word)))
    start += len(word)
  return places


def _load(workdir, tasks, what):
  import gpt_jax

  run = gpt_jax.load(workdir)
  if run.config.task.name not in tasks:
    raise ConfigError(
      f'{workdir}: expected {what} (task.name={tasks[0]!r}), not a run with'
      f' task.name={run.config.task.name!r}.'
    )
  return run
