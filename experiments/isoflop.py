"""How should compute be split between parameters and tokens?

Hoffmann et al. 2022 (Chinchilla, arXiv:2203.15556) train models of several sizes with
equal FLOPs, each to the end of its own schedule: losses over ln N are a parabola, and
its minimum N_opt grows as C^a with a near 0.5 (section 3.2 and table 2: 0.49, interval
0.462 to 0.534; Kaplan et al. 2020 had found 0.73). Their third approach fits L = E +
A / N^alpha + B / D^beta to all runs. Here the text is bytes of Python's own library,
N counts all parameters, and the peak rate is 0.4 / width. Of the 12 runs one, 3e12
FLOPs at width 32, reads its 10.6 million bytes 1.15 times; no other reads any twice.

What would change our mind: a parabola that bends down or has its minimum at an end, an
a outside 0.3 to 0.7, or a fit to the smaller budgets that misses the largest one.

At paper size the three lowest of the paper's nine budgets (figure 3), with shapes of
its table A9 around the optimum that its fit gives, on text of one's own.

  gpt-jax sweep experiments/isoflop.py
"""

import numpy as np

from gpt_jax.analysis import fits
from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.plots import palette
from gpt_jax.sweeps import Claim, Experiment, Figure, Outcome, Size

HOFFMANN = 'Hoffmann et al. 2022, arXiv:2203.15556, section 3 and table 2'
QUICK = {3e11: (16, 24, 40, 64), 1e12: (24, 32, 56, 96), 3e12: (32, 48, 80, 128)}
PAPER = {  # (layers, width), heads of 64
  6e18: ((8, 512), (10, 640), (12, 768), (16, 1024)),
  1e19: ((9, 576), (12, 768), (16, 896), (18, 1280)),
  3e19: ((10, 640), (15, 768), (16, 1024), (21, 1280)),
}


def settings(budget, layers, width, heads, vocabulary, seq_len, batch):
  """Returns the overrides of a model that spends `budget` FLOPs: 6 N + 12 L d T."""
  parameters = 12 * layers * width**2 + vocabulary * width
  per_token = 6 * parameters + 12 * layers * width * seq_len
  steps = round(budget / (per_token * batch * seq_len))
  return {
    'row': f'{budget:.0e}', 'model.num_layers': layers, 'model.d_model': width,
    'model.num_heads': heads, 'train.steps': steps,
    'schedule.warmup_steps': max(20, steps // 50),
    'optimizer.learning_rate': round(0.4 / width, 6),
  }  # fmt: skip


def quick(seq_len=64, batch=16):
  found = [
    settings(budget, 2, width, 4, 257, seq_len, batch)  # bytes, and the end of a text
    for budget, widths in QUICK.items()
    for width in widths
  ]
  # At most two epochs of Python's library: 10.6 million bytes to train on, on 3.11.
  assert max(one['train.steps'] for one in found) * seq_len * batch < 20e6
  return found


def paper():
  return [
    settings(budget, layers, width, width // 64, 50_257, 2048, 256)
    for budget, shapes in PAPER.items()
    for layers, width in shapes
  ]


def runs(results, budget):
  """Returns (N, D, losses) of a budget as arrays, by rising N."""
  found = [
    (one.value('parameters'), one.value('tokens'), one.value('validation/loss'))
    for one in results.where(row=f'{budget:.0e}')
  ]
  return np.array(sorted(found), float).T


def budgets(results):
  if results.missing:
    raise NotEnoughData(f'{len(results.missing)} points are missing.')
  return [float(row) for row in results.axis('row')]


def minima(results):
  """Returns `{budget: Parabola}`."""
  found = {}
  for budget in budgets(results):
    n, _, loss = runs(results, budget)
    found[budget] = fits.fit_isoflop(n, loss)
  return found


def parabolas_have_minima(results):
  found = minima(results)
  numbers = {f'N_opt at {budget:.0e}': one.minimum for budget, one in found.items()}
  return Outcome(all(one.has_interior_minimum for one in found.values()), numbers)


def sizes_grow_with_compute(results):
  found = minima(results)
  n_opt = [one.minimum for one in found.values()]
  if not np.isfinite(n_opt).all():
    return Outcome(False, {'a': float('nan')})
  a = fits.log_log_slope(list(found), n_opt)
  return Outcome(0.3 <= a <= 0.7, {'a of N_opt ~ C^a': a})


def smaller_budgets_predict_the_largest(results):
  *smaller, largest = budgets(results)
  law = fits.fit_chinchilla(*np.concatenate([runs(results, b) for b in smaller], 1))
  n, d, loss = runs(results, largest)
  best = int(np.argmin(loss))
  predicted = float(law.loss(n[best], d[best]))
  numbers = {'lowest loss': loss[best], 'predicted': predicted, 'E': law.E}
  numbers |= {'alpha': law.alpha, 'beta': law.beta, 'a': law.parameter_exponent}
  return Outcome(abs(predicted / loss[best] - 1) <= 0.03, numbers)


def draw_parabolas(axes, results):
  """Draws losses over N, the parabola of each budget, and its minimum as a star."""
  for i, budget in enumerate(float(row) for row in results.axis('row')):
    if not results.where(row=f'{budget:.0e}'):
      continue
    color = palette.of_number(i)[0]
    n, _, loss = runs(results, budget)
    axes.plot(n, loss, 'o', color=color, label=f'{budget:.0e} FLOPs')
    if len(n) > 2:
      one, x = fits.fit_isoflop(n, loss), np.geomspace(min(n), max(n), 50)
      axes.plot(x, one.loss(x), '-', color=color, linewidth=1)
      if one.has_interior_minimum:
        axes.plot(one.minimum, one.loss(one.minimum), '*', color=color, markersize=13)
  axes.set(xscale='log', xlabel='parameters', ylabel='validation loss, nats')
  axes.legend()


def get_experiment():
  return Experiment(
    base='base',
    rows={f'{budget:.0e}': {} for budget in (*QUICK, *PAPER)},
    overrides={
      'model.position': 'rope', 'model.norm': 'rmsnorm', 'model.bias': False,
      'model.init': 'fan_in', 'checkpoint.every_steps': 0,
    },
    columns={'loss': 'validation/loss', 'tokens': 'tokens'},
    claims=(
      Claim(
        'minima', 'At each budget a size between the smallest and the largest is best.',
        HOFFMANN, 'ordering', 'T',
        'one seed a point; parabola in ln N through 4 sizes, convex, interior minimum',
        parabolas_have_minima,
      ),
      Claim(
        'exponent', 'Parameters and tokens grow alike: N_opt ~ C^a, a in 0.3 to 0.7.',
        HOFFMANN, 'mechanism', 'T', 'slope of ln N_opt over ln C, through 3 minima',
        sizes_grow_with_compute,
      ),
      Claim(
        'fit', 'L(N, D) fitted to the smaller budgets predicts the largest one.',
        HOFFMANN, 'mechanism', 'T',
        'approach 3 through 8 runs; the lowest loss of the largest budget within 3 %',
        smaller_budgets_predict_the_largest,
      ),
    ),
    figures=(Figure('isoflop', 'Loss at equal FLOPs', draw=draw_parabolas),),
    sizes={
      'quick': Size(
        'two CPU cores', minutes=7, seeds=(3,), sweep=tuple(quick()),
        only_rows=tuple(f'{budget:.0e}' for budget in QUICK),
        overrides={
          'data.source': 'python_source', 'data.seq_len': 64, 'train.batch_size': 16,
          'model.scan_layers': False, 'eval.every_steps': 0, 'eval.max_batches': 64,
          'eval.batch_size': 64, 'logging.every_steps': 100,
        },
      ),
      'paper': Size(
        'v5p:2x2x2', minutes=1500, seeds=(0,), base='gpt2:124m', sweep=tuple(paper()),
        only_rows=tuple(f'{budget:.0e}' for budget in PAPER),
        overrides={
          'data.path': 'corpus/*.txt.gz', 'data.seq_len': 2048,
          'train.batch_size': 256, 'train.grad_accum': 1,
        },
      ),
    },
  )  # fmt: skip
