"""Streams of made-up texts, and heads that read the answer from the text itself."""

import json

import numpy as np

from gpt_jax.opinion.heads import Opinion
from gpt_jax.opinion.monitor import Settings

HOUR = 3600.0
START = 1_700_000_400.0 // HOUR * HOUR


class Heads:
  """Texts are `TOPIC good` or `TOPIC bad`; `judged` has all that were asked."""

  def __init__(self, rates=None):
    self.topics, self.negative, self.rates, self.judged = ('a', 'b'), 'bad', rates, []

  def judge(self, texts):
    self.judged += texts
    words = [text.split() for text in texts]
    return [Opinion(one[0], one[1] == 'bad', 0.9 - len(one) / 100) for one in words]


def settings(**changes):
  """Returns Settings of hourly buckets with two topics."""
  found = dict(
    topics=('a', 'b'), bucket=HOUR, lateness=600.0, smoothing=0.3, false_alarms=0.2,
    baseline_buckets=10, usual_share=None,
  )  # fmt: skip
  return Settings(**(found | changes))


def lines(hours, *, surge=(), per_hour=40, seed=0, share=0.25):
  """Returns JSON lines of `hours`; in those of `surge` topic b has 60 points more."""
  rng, found = np.random.default_rng(seed), []
  for hour in range(hours):
    for place in np.sort(rng.random(per_hour)):
      topic = 'ab'[rng.integers(2)]
      risen = 0.6 * (topic == 'b' and hour in surge)
      word = 'bad' if rng.random() < share + risen else 'good'
      event = dict(time=START + (hour + place) * HOUR, text=f'{topic} {word}')
      event |= dict(source='here', id=len(found))
      found.append(json.dumps(event))
  return found
