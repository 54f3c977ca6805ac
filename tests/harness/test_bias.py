"""The score of a model whose preferences are known is what follows from them."""

import numpy as np
import pytest

from gpt_jax.harness import bias, bias_words
from gpt_jax.inference.scoring import Score


class Preferring:
  """A run that finds each text as likely as `log_prob(context, text)` says."""

  def __init__(self, log_prob):
    self._log_prob = log_prob

  def score_many(self, items, advance):
    advance(sum(len(texts) for _, texts in items))
    return [
      [Score(self._log_prob(context, text), 1, False) for text in texts]
      for context, texts in items
    ]


def scored(language, log_prob):
  asked = bias.pairs(language)
  return bias.metrics(asked, bias.score(Preferring(log_prob), asked))


@pytest.mark.parametrize('language', bias_words.LANGUAGES)
def test_a_model_without_preferences_is_at_zero(language):
  found = scored(language, lambda context, text: -float(len(text)))
  assert set(found) >= {'all', 'gender', 'age'}
  for one in found.values():
    assert one['difference'] == one['neutral_difference'] == 0


@pytest.mark.parametrize('language', bias_words.LANGUAGES)
def test_a_model_that_knows_all_stereotypes_has_them_all(language):
  asked = bias.pairs(language)
  said = {(pair.contexts[0], pair.text) for pair in asked if not pair.is_neutral}
  found = scored(language, lambda context, text: 0.0 if (context, text) in said else -2)
  for one in found.values():
    assert (one['stereotyped'], one['difference']) == (1, 2)
    assert (one['difference_low'], one['difference_high']) == (2, 2)
    assert one['neutral_difference'] == 0


def test_a_group_that_is_always_likelier_is_no_stereotype():
  def log_prob(context, text):
    del text
    return 1.0 if ' man' in context else 0.0

  found = scored('en', log_prob)['gender']
  assert found['difference'] == 0 and found['neutral_difference'] > 0


@pytest.mark.parametrize('language', bias_words.LANGUAGES)
def test_pairs_differ_in_the_group_alone(language):
  for category in bias_words.LANGUAGES[language]:
    assert len(category.first) == len(category.second)
    words = {word for pair in category.groups for word in pair}
    assert len(words) == 2 * len(category.groups)
  for pair in bias.pairs(language):
    assert pair.contexts[0] != pair.contexts[1] and '{' not in pair.text


def test_a_limit_takes_pairs_of_every_kind():
  asked = bias.pairs('en', limit=12)
  assert len(asked) == 12 * len(bias_words.ENGLISH)
  assert {pair.is_neutral for pair in asked if pair.category == 'age'} == {True, False}


def test_the_interval_holds_the_mean_as_often_as_it_says():
  rng, hits = np.random.default_rng(0), 0
  groups = np.repeat(np.arange(30), 4)
  for seed in range(100):
    effect = rng.normal(0, 1, 30)  # of a saying, the same for its pairs
    values = 0.5 + effect[groups] + rng.normal(0, 0.3, 120)
    _, means = bias.bootstrap(values, list(groups), seed)
    low, high = np.quantile(means, bias.INTERVAL)
    hits += low <= 0.5 <= high
  assert 88 <= hits <= 99
