"""Does a larger model gain more from examples in its context?

GPT-3's figure 1.2: accuracy rises with the number of examples, and more steeply for
larger models. Here each document draws a new random map of 8 symbols to 4 labels and
shows symbol-label pairs; the label of pair K is asked after K examples, for K of 0, 1,
2, 4 and 8. The best possible accuracy is known: a label is certain if its symbol is
among the examples and chance otherwise. Without an example it is chance for every
model, exactly; a better accuracy there would mean that the model sees its labels. All
sizes see equally many pairs. At paper size the models are the three smallest of GPT-3,
with their rates; GPT-3's own tasks are not repeated.

What would change our mind: accuracy at K = 0 away from 1/4 by more than the sampling
error, or a slope that does not rise with the size.

  gpt-jax sweep experiments/few_shot.py
"""

import numpy as np

from gpt_jax.analysis import rules
from gpt_jax.plots import over_metrics
from gpt_jax.sweeps import Claim, Experiment, Figure, Outcome, Size

GPT3 = 'Brown et al., arXiv:2005.14165, figure 1.2'
SHOTS = (0, 1, 2, 4, 8)
ACCURACY = {K: f'shots_{K}/accuracy' for K in SHOTS}
SIZES = ('small', 'medium', 'large')
KNOWN = [1 - 0.75 * (1 - 1 / 8) ** shots for shots in SHOTS]  # 8 symbols, 4 labels


def shape(layers, width, heads, rate):
  return {
    'model.num_layers': layers, 'model.d_model': width, 'model.num_heads': heads,
    'optimizer.learning_rate': rate,
  }  # fmt: skip


def slope(result):
  """Returns the accuracy gained by an example, by least squares."""
  return float(np.polyfit(SHOTS, [result.value(ACCURACY[K]) for K in SHOTS], 1)[0])


def rises(results):
  """Checks the accuracies of the largest model, means over seeds, in order."""
  means = {K: results.where('large').mean(ACCURACY[K]) for K in SHOTS}
  return Outcome(all(np.diff(list(means.values())) > 0), means)


def get_experiment():
  sets = {f'shots_{K}': {'split': 'validation', 'options': {'shots': K}} for K in SHOTS}
  return Experiment(
    base='base', metric='shots_8/accuracy', higher_is_better=True,
    overrides={
      'data.source': 'symbol_map', 'data.packing': 'pad', 'data.seq_len': 31,
      'data.generator.document_len': 32, 'data.generator.num_documents': 65_536,
      'eval.sets': {'validation': {'split': 'validation'}} | sets,
      'eval.batch_size': 256, 'eval.max_batches': 16, 'eval.every_steps': 100,
      'checkpoint.every_steps': 0,
    },
    rows={name: {} for name in SIZES},
    columns={f'{K} shots': ACCURACY[K] for K in SHOTS} | {'slope': slope},
    claims=(
      Claim(
        'no leak', 'Without an example every model is at chance.', 'computed: 1 / 4',
        'exact', 'C',
        'each run; 1/4 within 0.025 (3.7 standard errors of 4096 documents), and a loss'
        ' not below ln 4 by more than 0.005 nats',
        rules.all_of(
          rules.never_above(0.275, metric='shots_0/accuracy'),
          rules.never_below(0.225, metric='shots_0/accuracy'),
          rules.never_below(0.0, metric='shots_0/excess', tolerance=0.005),
        ),
      ),
      Claim(
        'examples help', 'Accuracy rises with each number of examples.', GPT3,
        'mechanism', 'M', 'means over seeds of the largest model, each above the last',
        rises, version=2,  # reads what version 1 read, in fewer lines
      ),
      Claim(
        'size helps', 'It rises more steeply for larger models.', GPT3, 'ordering', 'M',
        'means over seeds of the least-squares slope, each above that of the smaller',
        rules.rising(SIZES, metric=slope), version=2,  # likewise
      ),
    ),
    figures=(
      Figure(
        'shots', 'Accuracy after K examples',
        draw=over_metrics.of(
          ACCURACY, x_label='examples', y_label='accuracy',
          reference=('best possible', KNOWN),
        ),
      ),
      Figure('eight', 'Accuracy after 8 examples', y='shots_8/accuracy'),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=7, seeds=(3, 4, 5),
        overrides={
          'model.position': 'rope', 'model.init': 'fan_in', 'model.scan_layers': False,
          'model.tie_embeddings': False, 'train.batch_size': 32, 'train.steps': 500,
          'schedule.warmup_steps': 50,
        },
        rows={
          'small': shape(1, 32, 2, 2e-3), 'medium': shape(2, 32, 2, 2e-3),
          'large': shape(3, 96, 4, 2e-3),
        },
      ),
      'paper': Size(
        'v5p:2x2x1', minutes=90, seeds=(3, 4, 5),
        overrides={
          'model.dtype': 'bfloat16', 'model.remat': 'auto', 'parallel.mesh.fsdp': -1,
          'train.batch_size': 256, 'train.steps': 20_000, 'schedule.warmup_steps': 500,
        },
        rows={  # of table 2.1: 125M, 350M, 760M
          'small': shape(12, 768, 12, 6e-4), 'medium': shape(24, 1024, 16, 3e-4),
          'large': shape(24, 1536, 16, 2.5e-4),
        },
      ),
    },
  )  # fmt: skip
