"""Experiments: one file says the question, the sweep and the claims; commands run it.

Read `experiment.py` first: what an experiment file may say. `algebra.py` makes sweeps,
`points.py` the runs of one. The usual pass rules of claims are in `analysis/rules.py`;
they read what `analysis/results.py` finds in the workdirs.
"""

from gpt_jax.sweeps.algebra import (
  chain,
  linear_range,
  log_range,
  only,
  product,
  rows,
  seeds,
  vary,
  zipped,
)
from gpt_jax.sweeps.experiment import (
  Claim,
  Experiment,
  Figure,
  FromRow,
  Line,
  Outcome,
  Range,
  Size,
)

__all__ = [
  'Claim', 'Experiment', 'Figure', 'FromRow', 'Line', 'Outcome', 'Range', 'Size',
  'chain', 'linear_range', 'log_range', 'only', 'product', 'rows', 'seeds', 'vary',
  'zipped',
]  # fmt: skip
