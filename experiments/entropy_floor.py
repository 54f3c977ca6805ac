"""Does the loss reach the entropy of a language, and never pass it?

Languages whose entropy is known exactly: a Markov chain of order 2 over 16 symbols and
independent uniform symbols. A loss below the entropy means that the model sees what it
has to predict; a loss far above it means that it does not learn.

What would change our mind: a loss below the entropy by more than the sampling error, or
an excess of more than 0.06 nats.

  gpt-jax sweep experiments/entropy_floor.py
  gpt-jax report experiments/entropy_floor.py
"""

from gpt_jax.sweeps import Claim, Experiment, Figure, Outcome, Size


def never_below(results):
  lowest = min(result.value('validation/excess') for result in results)
  return Outcome(lowest > -0.005, {'lowest excess, nats': lowest})


def get_experiment():
  return Experiment(
    base='markov',
    rows={
      'markov': {},
      'uniform': {'data.source': 'uniform'},
    },
    overrides={'model.num_layers': 2, 'model.d_model': 64, 'data.seq_len': 128},
    columns={'loss': 'validation/loss', 'excess': 'validation/excess'},
    claims=(
      Claim(
        'never below',
        'No model predicts better than the entropy of the language.',
        source='Shannon 1948; entropy rates computed from the transition matrix',
        kind='floor',
        evidence='C',
        statistics='the lowest of all runs; tolerance 0.005 nats of sampling error',
        rule=never_below,
      ),
    ),
    figures=(
      Figure('excess', 'Loss over the entropy', y='validation/excess', log_y=True),
    ),
    sizes={
      'quick': Size('two CPU cores', minutes=3, overrides={'train.steps': 600}),
      'paper': Size('v5p:2x2x1', minutes=10, overrides={'train.steps': 20_000}),
    },
  )
