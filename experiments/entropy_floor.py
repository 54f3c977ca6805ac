"""Does the loss come down to the entropy of a language, and never pass it?

Three languages over 16 symbols whose entropy is known exactly. `markov`: the next one
depends on the two before it; a model that sees only one of them, or none, pays more:
two lines of the figure. `uniform`: independent symbols, ln 16 each. `copy`: the second
half of a document repeats the first, which alone costs anything. A decoder of 2 layers
of width 64 learns each from scratch; held-out documents are other draws.

What would change our mind: a loss below the entropy by more than the sampling error of
the held-out text (a leak in mask, packing or targets), or one that stays far above it.
The sampling error is that of the true probabilities: three standard errors of their
mean cost over held-out documents, printed with the verdict; 0.005 nats at these sizes.

  gpt-jax sweep experiments/entropy_floor.py
"""

import dataclasses
import math

import numpy as np

from gpt_jax.data import make_source
from gpt_jax.sweeps import Claim, Experiment, Figure, Line, Outcome, Size

TOLERANCE = 0.005  # nats a token
SHANNON = 'Shannon 1948; entropies from the transition matrix'
ROWS = {
  'markov': {'data.generator.num_documents': 6144},
  'uniform': {
    'data.source': 'uniform', 'data.generator.num_documents': 2048, 'train.steps': 100,
  },
  'copy': {
    'data.source': 'copy', 'data.generator.num_documents': 16_384,
    'data.generator.document_len': 64, 'data.seq_len': 63, 'data.packing': 'pad',
    'train.steps': 250, 'eval.every_steps': 50,
  },
}  # fmt: skip


def held_out(results):
  """Returns the held-out Markov documents of the first seed."""
  config = next(one for one in results.study.points if one.row == 'markov').config
  data = dataclasses.replace(config.data, split='validation', seed=config.seed)
  return make_source(data)


def order_gap(order):
  """Returns a function of results: what the best model of `order` pays too much."""

  def gap(results):
    chain = held_out(results).language
    joint = (chain.stationary[:, None] * chain.rows).reshape(
      -1, chain.vocab_size**order, chain.vocab_size
    )
    joint = joint.sum(axis=0)  # P(last `order` symbols, next symbol)
    rows = joint / joint.sum(axis=1, keepdims=True)
    return -float((joint * np.log(np.maximum(rows, 1e-300))).sum()) - chain.entropy

  return gap


def never_below(results):
  source = held_out(results)
  costs = [-source.log_probs(source[i]['tokens']).mean() for i in range(len(source))]
  error = float(np.std(costs) / math.sqrt(len(costs)))
  lowest = min(results, key=lambda result: result.value('validation/excess'))
  excess = lowest.value('validation/excess')
  numbers = {'lowest excess': excess, 'of': lowest.point.name, '3 errors': 3 * error}
  return Outcome(excess > -TOLERANCE, numbers)


def within(row, limit, factor=1.0):
  def rule(results):
    excess = factor * results.where(row=row).mean('validation/excess')
    return Outcome(excess <= limit, {'excess, nats': excess, 'limit': limit})

  return rule


def floor(name, text, rule, statistics='mean over seeds'):
  return Claim(name, text, SHANNON, 'floor', 'C', statistics, rule)


CLAIMS = (
  floor(
    'never below', 'No model predicts better than the entropy of the language.',
    never_below, 'the lowest of all runs; tolerance 0.005 nats a token',
  ),
  floor('reaches it', 'The chain is learned to 0.06 nats.', within('markov', 0.06)),
  floor('uniform', 'Uniform symbols cost ln 16.', within('uniform', TOLERANCE)),
  # The first half costs ln V a token at least, so the 32 targets of the second cost no
  # more than all of the excess over 63 targets.
  floor('copy', 'A second copy costs 0.06 at most.', within('copy', 0.06, 63 / 32)),
)  # fmt: skip


def get_experiment():
  return Experiment(
    base='markov',
    rows=ROWS,
    metric='validation/excess',
    overrides={'eval.max_batches': 0, 'checkpoint.every_steps': 0},
    columns={name: f'validation/{name}' for name in ('loss', 'entropy')},
    claims=CLAIMS,
    figures=(
      Figure(
        'excess', 'Loss over the entropy', y='validation/excess', log_y=True,
        y_label='excess, nats a token',
        lines=(
          Line('sees one symbol', order_gap(1), SHANNON),
          Line('sees no symbol', order_gap(0), SHANNON),
        ),
      ),
    ),
    sizes={
      'quick': Size('two CPU cores', minutes=3, seeds=(3, 4, 5)),
      'paper': Size(
        'v5p:2x2x1', minutes=10, rows={row: {'train.steps': 20_000} for row in ROWS},
        overrides={'model.num_layers': 6, 'model.d_model': 256},
      ),
    },
  )  # fmt: skip
