"""Beams find the best text of all where they are enough to see all."""

import itertools

import numpy as np
import pytest

from gpt_jax.inference.beams import Beams, BeamSettings

V, END, LENGTH = 4, 3, 4


def random_log_probs(seed):
  """Returns log-probabilities of the next id given the one before, [V, V]."""
  logits_VV = np.random.default_rng(seed).normal(0, 1.5, (V, V))
  return logits_VV - np.log(np.exp(logits_VV).sum(-1, keepdims=True))


def search(log_probs_VV, settings, n=1):
  """Returns what Beams find after id 0."""
  beams = Beams(settings, LENGTH, (END,))
  steps = 0
  while not beams.is_over:
    last = [ids[-1] if ids else 0 for ids in beams.ids]
    scores_W = (log_probs_VV[last] + beams.scores[:, None]).astype(np.float32).ravel()
    best_W = np.argsort(-scores_W, kind='stable')[: beams.width]
    beams.advance(scores_W[best_W], best_W // V, best_W % V)
    steps += 1
  return beams.results(n), steps


def all_texts(log_probs_VV, length_penalty):
  """Returns [(score, ids)] of all texts, best first."""
  found = []
  for length in range(1, LENGTH + 1):
    for ids in itertools.product(range(V), repeat=length):
      if END in ids[:-1] or (length < LENGTH and ids[-1] != END):
        continue
      pairs = itertools.pairwise((0, *ids))
      total = sum(log_probs_VV[pair] for pair in pairs)
      shown = ids[:-1] if ids[-1] == END else ids
      found.append((total / length**length_penalty, list(shown)))
  return sorted(found, reverse=True)


@pytest.mark.parametrize('length_penalty', [0.0, 1.0, 2.5, -1.0])
def test_many_beams_find_the_best_texts_of_all(length_penalty):
  for seed in range(8):
    log_probs_VV = random_log_probs(seed)
    settings = BeamSettings(
      beams=V**LENGTH, length_penalty=length_penalty, early_stopping='never'
    )
    found, _ = search(log_probs_VV, settings, n=3)
    expected = all_texts(log_probs_VV, length_penalty)
    scores = [score for score, _ in expected[:3]]
    assert [score for _, score in found] == pytest.approx(scores, rel=1e-5)
    for text, score in found:  # texts of the same pairs of ids are equally likely
      own = next(each for each, ids in expected if ids == text.ids.tolist())
      assert own == pytest.approx(score, rel=1e-5)


def test_early_stopping_ends_once_enough_texts_have_ended():
  steps = {}
  for how in (True, False, 'never'):
    settings = BeamSettings(beams=2, length_penalty=3.0, early_stopping=how)
    steps[how] = [search(random_log_probs(seed), settings)[1] for seed in range(20)]
  assert sum(steps[True]) < sum(steps[False]) <= sum(steps['never'])


def test_without_any_allowed_token_the_best_beam_is_the_text():
  beams = Beams(BeamSettings(beams=2), LENGTH, ())
  none_W, zeros_W = np.full(4, -np.inf, np.float32), np.zeros(4, np.int32)
  beams.advance(none_W + 0, zeros_W, zeros_W)
  assert beams.is_over and beams.results(1)[0][0].finish == 'dead_end'
