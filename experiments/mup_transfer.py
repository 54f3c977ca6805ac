"""Does the best learning rate stay where it is as a model gets wider?

Yang et al. 2022 (muP, arXiv:2203.03466): with initial deviations and rates scaled by
width as in table 8, the optimum found in a narrow Transformer is that of a wide one
(figure 1: widths 128 to 8192); in the standard parametrization it falls with width. The
sign that the scaling is right is the coordinate check: after a few steps the size of
activations does not depend on the width (appendix D.1).

Here: 2 layers, heads of 16, widths 32 to 256, base width 32, six rates a factor of two
apart, 200 steps of 16 x 64 bytes of Python's library. The optimum of a width is the
vertex of the parabola in log rate through the best rate and its two neighbours (at an
end of the grid: that end). The rows `coordinates` take 5 steps at one rate, three seeds
each: a single seed varies by a factor of two.

What would change our mind: optima under muP that lie more than one step of the grid
apart, or activations that grow or shrink faster than width^0.1 under muP.

  gpt-jax sweep experiments/mup_transfer.py
"""

import math

import numpy as np

from gpt_jax.analysis import fits
from gpt_jax.sweeps import (
  Claim,
  Experiment,
  Figure,
  Outcome,
  Size,
  chain,
  product,
  rows,
  seeds,
  vary,
  zipped,
)

YANG = 'Yang et al. 2022, arXiv:2203.03466'
RATE, WIDTH = 'optimizer.learning_rate', 'model.d_model'
RMS = 'statistics/residual_rms/layer_1'
STANDARD, MUP = 'standard', 'muP'
COORDINATES = {STANDARD: 'coordinates, standard', MUP: 'coordinates, muP'}


def optimum(results):
  """Returns the best rate of a row at a width, between grid points where it is."""
  rates = sorted(results.axis(RATE))
  losses = [results.where(**{RATE: one}).mean('validation/loss') for one in rates]
  best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
  around = slice(best - 1, best + 2)
  if best in (0, len(rates) - 1) or not np.isfinite(losses[around]).all():
    return rates[best]
  c2, c1, _ = np.polyfit(np.log(rates[around]), losses[around], 2)
  return float(math.exp(-c1 / (2 * c2))) if c2 > 0 else rates[best]


def spread(results, row):
  """Returns how far apart the optima of all widths are, in factors of two."""
  found = {
    width: optimum(results.where(row=row, **{WIDTH: width}))
    for width in results.where(row=row).axis(WIDTH)
  }
  steps = math.log2(max(found.values()) / min(found.values()))
  numbers = {f'best rate at width {width}': rate for width, rate in found.items()}
  return steps, numbers | {'apart, factors of two': steps}


def optima_stay(results):
  steps, numbers = spread(results, MUP)
  return Outcome(steps <= 1, numbers)


def optima_drift(results):
  steps, numbers = spread(results, STANDARD)
  return Outcome(steps >= 2, numbers)


def coordinates_stay(results):
  slopes = {}
  for name, row in COORDINATES.items():
    part = results.where(row=row)
    widths = part.axis(WIDTH)
    sizes = [part.where(**{WIDTH: width}).mean(RMS) for width in widths]
    slopes[name] = fits.log_log_slope(widths, sizes)
  numbers = {f'exponent of width, {name}': one for name, one in slopes.items()}
  return Outcome(abs(slopes[MUP]) <= 0.1, numbers)


def sweep(widths, head, rates):
  shapes = zipped(
    vary(WIDTH, *widths), vary('model.num_heads', *(width // head for width in widths))
  )
  middle = vary(RATE, rates[len(rates) // 2])
  return chain(
    product(rows(STANDARD, MUP), shapes, vary(RATE, *rates), seeds(3)),
    product(rows(*COORDINATES.values()), shapes, middle, seeds(3, 4, 5)),
  )


def get_experiment():
  parametrization = {STANDARD: {'model.init': 'fan_in'}, MUP: {'model.init': 'mup'}}
  few = {'train.steps': 5, 'schedule.warmup_steps': 0, 'schedule.name': 'constant'}
  return Experiment(
    base='base',
    rows=parametrization
    | {row: parametrization[name] | few for name, row in COORDINATES.items()},
    overrides={
      'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
      'model.tie_embeddings': False, 'checkpoint.every_steps': 0,
      'logging.statistics': ('residual_rms',),
    },
    columns={'loss': 'validation/loss', 'RMS after layer 2': RMS},
    claims=(
      Claim(
        'transfer', 'Under muP the best rate is the same at all widths.',
        f'{YANG}, figure 1', 'mechanism', 'V',
        'one seed a rate; vertices of parabolas, at most a factor of two apart',
        optima_stay,
      ),
      Claim(
        'drift', 'In the standard parametrization it moves by two steps or more.',
        f'{YANG}, figure 1', 'report_only', 'V',
        'one seed a rate; vertices of parabolas, at least a factor of four apart',
        optima_drift,
      ),
      Claim(
        'coordinates', 'Under muP activations keep their size as the width grows.',
        f'{YANG}, appendix D.1', 'mechanism', 'V',
        'mean over 3 seeds; exponent of width of the RMS after 5 steps, in +-0.1',
        coordinates_stay,
      ),
    ),
    figures=(
      Figure(
        'rates', 'Final loss by learning rate', x=RATE, log_x=True, by=WIDTH,
        panels='row', y_label='validation loss, nats',
        select=lambda results: results.only(lambda point: point.row in (STANDARD, MUP)),
      ),
      Figure(
        'coordinates', 'Size of activations after 5 steps', x=WIDTH, y=RMS, log_x=True,
        log_y=True, y_label='RMS after layer 2',
        select=lambda results: results.only(
          lambda point: point.row in COORDINATES.values()
        ),
      ),
    ),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=8, seeds=(),
        sweep=sweep((32, 64, 128, 256), 16, [0.002 * 2**i for i in range(6)]),
        overrides={
          'data.source': 'python_source', 'data.seq_len': 64, 'train.batch_size': 16,
          'model.num_layers': 2, 'model.mup_base_width': 32, 'model.scan_layers': False,
          'train.steps': 200, 'schedule.warmup_steps': 10, 'eval.every_steps': 0,
          'eval.max_batches': 16, 'eval.batch_size': 32,
        },
      ),
      'paper': Size(
        'v5p:2x2x2', minutes=3000, seeds=(), base='gpt2:124m',
        sweep=sweep(
          (128, 256, 512, 1024, 2048, 4096), 64, [2**-i for i in range(14, 6, -1)]
        ),
        overrides={
          'data.path': 'corpus/*.txt.gz', 'model.num_layers': 2,
          'model.mup_base_width': 128, 'train.steps': 5000, 'train.batch_size': 240,
          'train.grad_accum': 1, 'schedule.warmup_steps': 0,
        },
      ),
    },
  )  # fmt: skip
