"""Runs whose data makes a step bad: losses that are not finite, and a spike."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from gpt_jax.data import pipeline
from gpt_jax.objectives import causal_lm
from gpt_jax.objectives.example import Objective
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir

RUN = {
  'data.generator.vocab_size': 8,
  'data.generator.order': 1,
  'train.steps': 16,
  'eval.every_steps': 0,
  'checkpoint.every_steps': 4,
  'checkpoint.keep_best': 0,
  'checkpoint.keep_last': 99,
  'eval.sets': {},
  'optimizer.ema_decay': 0.9,
}
NOT_FINITE = {'objective.name': 'tests.train.bad_batches:infinite_at_bad_rows'}
SPIKES = RUN | {
  'guard.spike_window': 8,
  'guard.spike_threshold': 6.0,
  'guard.rollback_steps': 4,
  'guard.rollback_extra_steps': 1,
}


BAD = 7
"""The id of rows whose loss is not finite, under the objective below."""


def infinite_at_bad_rows(cfg, *, vocab, seq_len):
  """Returns next-token prediction whose loss is NaN where a row is all BAD."""
  causal = causal_lm.make(cfg, vocab=vocab, seq_len=seq_len)

  def build(batch, rng):
    example = causal(batch, rng)
    is_bad_B1 = jnp.all(batch['tokens'] == BAD, axis=1, keepdims=True)
    weights_BT = jnp.where(is_bad_B1, jnp.inf, example.weights_BT)
    return dataclasses.replace(example, weights_BT=weights_BT)

  return Objective(build)


def serve(monkeypatch, tokens_at):
  """Makes training sample n consist of `tokens_at(n)`; None: unchanged."""
  usual = pipeline.Dataset.sample

  def sample(self, n):
    found, tokens = usual(self, n), tokens_at(n)
    if tokens is not None and not self.fingerprint['for_eval']:
      found = found | {'tokens': np.full_like(found['tokens'], tokens)}
    return found

  monkeypatch.setattr(pipeline.Dataset, 'sample', sample)


def serve_nan(monkeypatch, first, last=10**9):
  """Makes the loss of the samples from `first` to `last` not finite."""
  serve(monkeypatch, lambda n: BAD if first <= n <= last else None)


def serve_a_spike(monkeypatch):
  """Serves one token again and again, but for the samples of step 12."""
  serve(monkeypatch, lambda n: None if 88 <= n <= 95 else 3)


def events(workdir):
  return provenance.read_events(Workdir(workdir))
