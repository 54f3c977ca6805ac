"""Does a model that has memorized modular arithmetic generalize much later?

Grokking (Power et al. 2022): a small Transformer is trained on a part of the equations
a o b = c modulo 97. It knows those after some hundred steps, and hardly any of the
others; it generalizes many times later, sooner with weight decay. The paper's figure 1
has division, half of the equations and two layers (from memory).

Here: addition, one layer of width 128 and 30 % of the equations, trained with AdamW at
a constant 1e-3 for 2300 steps of 512 equations; every 50 steps 2048 equations of each
part are scored. Fraction and thresholds come from one run of ours with another seed, in
which half of the equations showed no delay. Version 2 of `late` asks each seed where
version 1 asked their mean (5.0, reproduced): seeds 3 to 5 were known by then. The paper
size is the paper's figure.

What would change our mind: generalization that comes with the fit, in any seed, or a
run without weight decay that generalizes as soon.

  gpt-jax sweep experiments/grokking.py
"""

from gpt_jax.analysis import rules
from gpt_jax.analysis.rules import FirstStep
from gpt_jax.sweeps import Claim, Experiment, Figure, Size

POWER = 'Power et al., arXiv:2201.02177, figures 1 and 2; thresholds: a run of ours'
FITTED, HELD_OUT = 'fitted/accuracy', 'validation/accuracy'
fits = FirstStep(FITTED, above=0.99)
generalizes = FirstStep(HELD_OUT, above=0.95)


def delay(result):
  """Returns steps to 95 % held out over steps to 99 % in training; 0: never there."""
  last = generalizes(result)
  return last / fits(result) if last < float('inf') else 0.0


def held_out_when_fitted(result):
  """Returns the accuracy on the other equations when those of training are fitted."""
  steps, values = result.curve(HELD_OUT)
  return float(values[steps <= fits(result)][-1])


def get_experiment():
  return Experiment(
    base='base',
    metric=HELD_OUT,
    higher_is_better=True,
    rows={
      'weight decay 1': {'optimizer.weight_decay': 1.0},
      'no weight decay': {'optimizer.weight_decay': 0.0},
    },
    overrides={
      'data.source': 'modular', 'data.packing': 'pad', 'data.seq_len': 4,
      'eval.sets.fitted': {'split': 'train'},
      'eval.max_batches': 1,
      'eval.batch_size': 2048,
      'eval.every_steps': 50,
      'model.d_model': 128,
      'model.num_heads': 4,
      'model.tie_embeddings': False,
      'model.scan_layers': False,
      'optimizer.learning_rate': 1e-3,
      'optimizer.b2': 0.98,
      'optimizer.decay_mask': 'all',
      'optimizer.clip_norm': 0.0,
      'schedule.name': 'constant',
      'schedule.warmup_steps': 10,
      'train.batch_size': 512,
      'checkpoint.every_steps': 0,
    },
    columns={
      'fit': FITTED, 'held out': HELD_OUT,
      'fitted at step': fits, 'held out then': held_out_when_fitted, 'delay': delay,
    },
    claims=(
      Claim(
        'late', 'The other equations are known long after those of training.', POWER,
        'mechanism', 'X',
        'each seed: steps to 95 % over steps to 99 %, at least 3; a run that does not'
        ' come to 95 % counts as 0',
        # Version 1 took the mean, by which one late seed could carry two without delay.
        rules.never_below(3.0, 'weight decay 1', metric=delay), version=2,
      ),
      Claim(
        'memorized first', 'When the training equations are known, others are not.',
        POWER, 'mechanism', 'X',
        'mean over seeds of held-out accuracy at the first evaluation with 99 % of'
        ' the training equations right, below 0.3',
        rules.below(0.3, 'weight decay 1', metric=held_out_when_fitted),
      ),
      Claim(
        'weight decay', 'Without weight decay it does not happen as soon.', POWER,
        'ordering', 'X', 'difference of means over seeds at the end, at least 0.3',
        rules.better('weight decay 1', 'no weight decay', by=0.3),
      ),
    ),
    figures=(
      Figure(
        'held_out', 'Equations that were not seen', y=HELD_OUT, log_x=True,
        y_label='accuracy',
      ),
      Figure(
        'fitted', 'Equations of the training', y=FITTED, log_x=True, y_label='accuracy'
      ),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=10, seeds=(3, 4, 5),
        overrides={'model.num_layers': 1, 'train.steps': 2300},
      ),
      'paper': Size(
        'v5p:2x2x1', minutes=15, seeds=(3, 4, 5),
        overrides={
          'model.num_layers': 2, 'data.options.operation': '/',
          'data.options.train_fraction': 0.5,
          'train.steps': 100_000, 'eval.every_steps': 100,
        },
      ),
    },
  )  # fmt: skip
