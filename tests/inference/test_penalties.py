"""Bias and penalties are those of transformers and of OpenAI's formula, row by row."""

import jax
import numpy as np
import pytest

from gpt_jax.inference.penalties import History, adjust
from gpt_jax.inference.sampling import SamplingRows
from gpt_jax.inference.settings import Sampling

V = 20
PROMPTS = np.array([[3, 1, 4, 1], [5, 9, 0, 0], [2, 6, 5, 0]])
LENGTHS = np.array([4, 2, 3])
NEW = [[7, 7, 3], [9, 9, 9], [1, 2, 2]]
ADJUST = jax.jit(adjust)


def random_logits():
  return np.random.default_rng(0).normal(0, 3, (3, V)).astype(np.float32)


def history():
  found = History.of(PROMPTS, LENGTHS, V)
  for token_B in np.array(NEW).T:
    found = found.add(token_B)
  return found


def adjusted(*samplings):
  rows = SamplingRows.of(samplings * 3 if len(samplings) == 1 else samplings)
  return np.asarray(ADJUST(random_logits(), rows, history()))


def test_ids_of_the_prompt_and_counts_of_the_text_are_kept_apart():
  found = history()
  assert [set(np.flatnonzero(row)) for row in np.asarray(found.in_prompt_BV)] == [
    {1, 3, 4}, {5, 9}, {2, 5, 6},
  ]  # fmt: skip
  counts_BV = [np.bincount(ids, minlength=V) for ids in NEW]
  np.testing.assert_array_equal(found.count_BV, counts_BV)


def test_presence_and_frequency_follow_the_formula_of_openai():
  found_BV = adjusted(Sampling(presence_penalty=0.5, frequency_penalty=0.25))
  for row, logits_V, ids in zip(found_BV, random_logits(), NEW, strict=True):
    for token_id in range(V):
      count = ids.count(token_id)
      expected = logits_V[token_id] - count * 0.25 - (count > 0) * 0.5
      assert row[token_id] == pytest.approx(expected, abs=1e-6)


def test_a_bias_is_added_to_its_ids_only():
  change_BV = adjusted(Sampling(logit_bias={3: -2.5, 0: 4})) - random_logits()
  expected_V = np.zeros(V)
  expected_V[[0, 3]] = 4, -2.5
  np.testing.assert_allclose(change_BV, np.tile(expected_V, (3, 1)), atol=1e-6)


def test_rows_that_ask_for_nothing_keep_their_logits_exactly():
  asks = Sampling(
    repetition_penalty=1.3, presence_penalty=1, frequency_penalty=0.1, logit_bias={2: 9}
  )
  found_BV = adjusted(Sampling(), asks, Sampling())
  np.testing.assert_array_equal(found_BV[[0, 2]], random_logits()[[0, 2]])
  assert (found_BV[1] != random_logits()[1]).sum() == 3  # 2, 5 and 9
  np.testing.assert_array_equal(found_BV[1], adjusted(asks)[1])


@pytest.mark.slow
@pytest.mark.parametrize('penalty', [0.5, 1.2, 3.0])
def test_repetition_and_bias_equal_those_of_transformers(penalty):
  torch = pytest.importorskip('torch', reason='the oracle needs torch')
  transformers = pytest.importorskip('transformers', reason='it is the oracle')
  bias = {3: -2.5, 0: 4.0}
  found_BV = adjusted(Sampling(repetition_penalty=penalty, logit_bias=bias))
  steps = [
    transformers.SequenceBiasLogitsProcessor({(i,): x for i, x in bias.items()}),
    transformers.RepetitionPenaltyLogitsProcessor(penalty),
  ]
  for i, logits_V in enumerate(random_logits()):
    ids = torch.tensor([[*PROMPTS[i, : LENGTHS[i]].tolist(), *NEW[i]]])
    scores = torch.from_numpy(logits_V[None])
    for step in steps:
      scores = step(ids, scores)
    np.testing.assert_allclose(found_BV[i], scores[0].numpy(), rtol=1e-6)
