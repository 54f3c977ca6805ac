"""Several rows side by side in one, so that little of a batch is padding.

Segments keep them apart: no token sees another row's, and positions begin anew.
"""

import numpy as np

from gpt_jax.data.packing import first_fit
from gpt_jax.tasks.task import Row


def side_by_side(rows, width, seed):
  """Returns Rows of at most `width` tokens that hold each of `rows`, once and whole.

  Which stand together follows from `seed`: each goes, in a random order, into the first
  of 128 open rows with space for it.
  """
  order = np.random.default_rng(seed).permutation(len(rows))
  bins = first_fit([len(rows[i].tokens) for i in order], width)
  groups = [[] for _ in range(int(bins.max(initial=-1)) + 1)]
  for i, number in zip(order, bins, strict=True):
    groups[number].append(rows[i])
  return [_joined(group) for group in groups]


def _joined(group):
  names = group[0].fields
  return Row(
    np.concatenate([row.tokens for row in group]),
    {name: np.concatenate([row.fields[name] for row in group]) for name in names},
    lengths=tuple(len(row.tokens) for row in group),
  )
