"""Does a norm on queries and keys make a model less sensitive to its learning rate?

Wortsman et al. 2023 (arXiv:2309.14322): without it, attention logits of larger models
grow at high rates and the run diverges; every run of theirs whose largest logit passed
1e4 did (section 3.1). With LayerNorm on queries and keys, models up to 1.2B train at
rates up to 0.3. Their measure is learning-rate sensitivity: the mean, over a grid of
rates, of the final loss (at most the loss at initialization) above the lowest one
(section 2.2). A z-loss of 1e-4 keeps the output logits from drifting (section 3.1.2).

Here: two models, 300 steps of 16 x 64 bytes of Python's library, their seven rates,
optimizer and initialization: AdamW (0.9, 0.95), clipping at 1, independent decay 1e-4,
warm-up over 5 % of the steps, RoPE, no biases, untied, fan-in. A diverged run counts as
the loss at initialization.

What would change our mind: a sensitivity with the norm above 0.6 times that without,
for the larger model; or logits that are not larger without, at rates from 0.03 on.

  gpt-jax sweep experiments/qk_norm.py
"""

import math

from gpt_jax.analysis import fits
from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.sweeps import (
  Claim,
  Experiment,
  Figure,
  Line,
  Outcome,
  Size,
  chain,
  product,
  rows,
  vary,
  zipped,
)

WORTSMAN = 'Wortsman et al. 2023, arXiv:2309.14322'
RATE, WIDTH = 'optimizer.learning_rate', 'model.d_model'
LOGIT, LOG_Z = 'statistics/max_attention_logit', 'statistics/log_z'
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
BARE, NORM, NO_Z = 'neither', 'qk norm', 'qk norm, no z-loss'


def by_rate(results, metric):
  """Returns `{rate: mean over seeds}` of a metric; a diverged run has infinity."""
  return {rate: results.where(**{RATE: rate}).mean(metric) for rate in RATES}


def start(results):
  """Returns the loss at initialization: of the first step, the mean over runs."""
  found = [one.curve('train/loss')[1][0] for one in results if not one.diverged]
  if not found:
    raise NotEnoughData(f'{results.describe()}: every run has diverged.')
  return float(sum(found) / len(found))


def sensitivity(results):
  losses = by_rate(results, 'validation/loss')
  return fits.learning_rate_sensitivity(list(losses.values()), start(results))


def large(results, row):
  width = max(results.where(row=row).axis(WIDTH))
  return results.where(row=row, **{WIDTH: width})


def less_sensitive(results):
  numbers = {
    f'{row}, width {width}': sensitivity(results.where(row=row, **{WIDTH: width}))
    for row in (BARE, NORM)
    for width in results.where(row=row).axis(WIDTH)
  }
  without, with_norm = (sensitivity(large(results, row)) for row in (BARE, NORM))
  return Outcome(with_norm <= 0.6 * without, numbers)


def larger_logits(results):
  without, with_norm = (by_rate(large(results, row), LOGIT) for row in (BARE, NORM))
  high = [rate for rate in RATES if rate >= 3e-2]
  numbers = {
    f'{row} at {rate:g}': found[rate]
    for row, found in ((BARE, without), (NORM, with_norm))
    for rate in high
  }
  return Outcome(all(without[rate] > with_norm[rate] for rate in high), numbers)


def smaller_log_z(results):
  numbers, holds = {}, True
  width = results.where(row=NO_Z).axis(WIDTH)[0]
  z, none = (
    by_rate(results.where(row=row, **{WIDTH: width}), LOG_Z) for row in (NORM, NO_Z)
  )
  for rate in RATES:
    if math.isfinite(z[rate]) and math.isfinite(none[rate]):
      numbers[f'{rate:g}'] = f'{z[rate]:.3f} with, {none[rate]:.3f} without'
      holds = holds and abs(z[rate]) < abs(none[rate])
  return Outcome(holds and bool(numbers), numbers)


def sweep(models):
  """Returns the settings; `models`: (layers, width, heads), the smallest first."""
  layers, widths, heads = zip(*models, strict=True)
  shapes = zipped(
    vary(WIDTH, *widths), vary('model.num_layers', *layers),
    vary('model.num_heads', *heads),
  )  # fmt: skip
  rates = vary(RATE, *RATES)
  return chain(
    product(rows(BARE, NORM), shapes, rates),
    product(rows(NO_Z), shapes[:1], rates),
  )


def get_experiment():
  figure = dict(x=RATE, log_x=True, panels=WIDTH)
  return Experiment(
    base='base',
    rows={
      BARE: {},
      NORM: {'model.qk_norm': 'layernorm'},
      NO_Z: {'model.qk_norm': 'layernorm', 'objective.z_loss': 0.0},
    },
    overrides={
      'objective.z_loss': 1e-4, 'model.position': 'rope', 'model.bias': False,
      'model.tie_embeddings': False, 'model.init': 'fan_in',
      'optimizer.weight_decay': 1e-4, 'optimizer.weight_decay_mode': 'independent',
      'schedule.final_fraction': 0.0, 'checkpoint.every_steps': 0,
      'logging.statistics': ('max_attention_logit', 'log_z'),
    },
    columns={'loss': 'validation/loss', 'largest logit': LOGIT, 'log Z': LOG_Z},
    claims=(
      Claim(
        'sensitivity', 'The larger model is less sensitive to its rate with the norm.',
        f'{WORTSMAN}, section 3.1', 'ordering', 'V',
        'one seed a rate, mean over 7 rates; at most 0.6 times that without',
        less_sensitive,
      ),
      Claim(
        'logits', 'At high rates attention logits are larger without the norm.',
        f'{WORTSMAN}, section 3.1', 'mechanism', 'V',
        'one seed; larger model, each rate from 0.03 on; a diverged run has infinite',
        larger_logits,
      ),
      Claim(
        'log Z', 'With z-loss, log Z ends nearer to 0.',
        f'{WORTSMAN}, section 3.1.2, figures 3 and 4', 'mechanism', 'V',
        'one seed; smaller model, at each rate where both end', smaller_log_z,
      ),
    ),
    figures=(
      Figure(
        'loss', 'Final loss by learning rate', y_label='validation loss, nats',
        lines=(Line('uniform', math.log(257), 'ln 257'),), **figure,
      ),
      Figure('logits', 'Largest attention logit', y=LOGIT, log_y=True, **figure),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=7, seeds=(3,), sweep=sweep([(2, 64, 4), (4, 96, 4)]),
        overrides={
          'data.source': 'python_source', 'data.seq_len': 64, 'train.batch_size': 16,
          'train.steps': 300, 'schedule.warmup_steps': 15, 'model.scan_layers': False,
          'eval.every_steps': 0, 'eval.max_batches': 16, 'eval.batch_size': 32,
          'logging.statistics_every_steps': 50,
        },
      ),
      'paper': Size(
        'v5p:4x4x4', minutes=6000, seeds=(0,), base='gpt2:124m',
        sweep=sweep([(3, 256, 4), (12, 768, 12), (24, 2048, 32)]),  # 10M to 1.2B
        overrides={
          'data.path': 'corpus/*.txt.gz', 'data.seq_len': 512, 'train.batch_size': 256,
          'train.grad_accum': 1, 'train.steps': 100_000, 'schedule.warmup_steps': 5000,
          'logging.statistics_every_steps': 1000,
        },
      ),
    },
  )  # fmt: skip
