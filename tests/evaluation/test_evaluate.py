"""Held-out metrics: every target once for any batch size; bits per byte by hand."""

import dataclasses
import math

import numpy as np
import pytest

from gpt_jax.data import packing
from gpt_jax.data.token_cache import TokenStore
from gpt_jax.evaluation import evaluate as evaluation
from gpt_jax.objectives import Objective

TEXT = Objective(lambda batch, rng: batch, predicts_text=True)
NATS = np.linspace(0.1, 2.0, 64)
"""What a made-up model pays for each token id."""


class Split:
  """A dataset of 45 tokens in windows of 8: five complete ones and a rest."""

  entropy = None
  prefetch_batches, warn_after_seconds, timeout_seconds = 1, 60.0, 60.0
  fingerprint = {'for_eval': True}

  def __init__(self, num_tokens=45):
    self.tokens = np.arange(num_tokens, dtype=np.uint16)
    store = TokenStore(self.tokens, np.array([0, num_tokens]))
    self._packing = packing.Concat(store, 8, keep_rest=True)

  def __len__(self):
    return len(self._packing)

  def sample(self, n):
    return self._packing.sample(n)


def sums(params, batch, index):
  """Returns what `Program.evaluate` would, by the price list NATS."""
  targets, segments = batch['tokens'][:, 1:], batch['segments']
  weights = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
  return {
    'loss': np.sum(NATS[targets] * weights),
    'targets': np.sum(weights),
    'accuracy': np.sum((targets % 2 == 0) * weights),
    'bytes': np.sum(3 * weights),
  }


def evaluate(dataset, predicts_text=True, **settings):
  objective = dataclasses.replace(TEXT, predicts_text=predicts_text)
  settings = dict(batch_size=2, place=lambda batch: batch) | settings
  return evaluation.evaluate(sums, None, dataset, objective=objective, **settings)


@pytest.mark.parametrize('batch_size', [1, 2, 4, 5, 6, 7, 100])
def test_each_target_counts_once_whatever_the_batch_size(batch_size):
  split = Split()
  metrics = evaluate(split, batch_size=batch_size)
  targets = split.tokens[1:]  # all but the first are predicted
  assert metrics['tokens'] == 44
  assert metrics['loss'] == pytest.approx(NATS[targets].mean())
  assert metrics['accuracy'] == pytest.approx(np.mean(targets % 2 == 0))


def test_bits_per_byte_are_the_nats_over_the_bytes_of_the_text():
  metrics = evaluate(Split())
  total = metrics['loss'] * metrics['tokens']
  assert metrics['bits_per_byte'] == pytest.approx(total / math.log(2) / (3 * 44))
  assert metrics['perplexity'] == pytest.approx(math.exp(metrics['loss']))


def test_targets_other_than_text_have_no_bytes_and_no_entropy():
  split = Split()
  split.entropy = 0.5
  metrics = evaluate(split, predicts_text=False)
  assert metrics.keys() == {'loss', 'perplexity', 'accuracy', 'tokens'}


def test_a_language_of_known_entropy_gives_the_excess_over_it():
  split = Split()
  split.entropy = 0.5
  metrics = evaluate(split)
  assert metrics['entropy'] == 0.5
  assert metrics['excess'] == pytest.approx(metrics['loss'] - 0.5)
  assert 'excess' not in evaluate(Split())


def test_max_batches_limits_the_evaluation():
  assert evaluate(Split(), max_batches=2)['tokens'] == 2 * 2 * 8


def test_hosts_score_disjoint_parts_of_the_split():
  split = Split()
  parts = [
    evaluate(split, batch_size=4, process_index=i, process_count=2) for i in range(2)
  ]
  assert sum(part['tokens'] for part in parts) == 44


def test_progress_receives_the_number_of_batches():
  totals = []

  def progress(batches, total):
    totals.append(total)
    yield from batches

  evaluate(Split(), batch_size=4, progress=progress)
  evaluate(Split(), batch_size=4, progress=progress, max_batches=1)
  assert totals == [2, 1]


def test_a_huge_loss_has_a_finite_perplexity():
  metrics = evaluation.metrics_from_sums(
    {'loss': 1e6, 'targets': 1.0, 'accuracy': 0.0}, TEXT
  )
  assert math.isfinite(metrics['perplexity'])


def test_an_empty_split_has_loss_zero():
  empty = {'loss': 0.0, 'targets': 0.0, 'accuracy': 0.0}
  assert evaluation.metrics_from_sums(empty, TEXT)['loss'] == 0


def test_flat_scores_are_grouped_by_set():
  flat = {'a/loss': 1.0, 'a/accuracy': 0.5, 'b/loss': 2.0}
  assert evaluation.by_set(flat, 7) == {
    'step': 7,
    'a': {'loss': 1.0, 'accuracy': 0.5},
    'b': {'loss': 2.0},
  }


def test_bits_per_byte_of_a_uniform_model_match_a_count_by_hand():
  # By hand: the byte tokenizer has 257 ids, so an even guess costs log2(257) bits for
  # each byte, and the end token costs the same without standing for a byte.
  from gpt_jax.data.tokenizers import ByteTokenizer

  lengths = ByteTokenizer().byte_lengths
  targets = np.array([*b'twelve bytes', 256])
  nll = len(targets) * math.log(257)
  metrics = evaluation.metrics_from_sums(
    {'loss': nll, 'targets': 13.0, 'accuracy': 0.0, 'bytes': lengths[targets].sum()},
    TEXT,
  )
  assert metrics['bits_per_byte'] == pytest.approx(13 * math.log2(257) / 12)
