"""Rows of several tasks in one training: how many of each an epoch has, and which.

By size alone n examples of a member have a share in proportion to n^(1/T): at T = 1
every example comes once an epoch, larger T bring small members up (mT5,
arXiv:2010.11934, section 3.1, has the exponent). Replay gives old data a fixed share.
"""

import numpy as np


def shares(counts, fixed, temperature):
  """Returns the share of each member in an epoch, float64, of sum 1.

  Args:
    counts: rows of each member.
    fixed: its share, or None for members that divide the rest by size.
    temperature: T, at least 1.
  """
  given = np.array([share or 0.0 for share in fixed])
  sizes = np.array(
    [0.0 if share else count for count, share in zip(counts, fixed, strict=True)]
  )
  free = np.where(sizes > 0, np.maximum(sizes, 1.0) ** (1 / temperature), 0.0)
  rest = 1.0 - given.sum()
  return given + (rest * free / free.sum() if free.sum() else 0.0)


def rows_of_epoch(counts, share_of, seed, epoch):
  """Returns the numbers of the rows of an epoch in random order, int [sum(counts)].

  Rows are numbered member by member. Each member's rows come in passes, all of them
  before one comes again, which go on from epoch to epoch.
  """
  total, first, drawn = sum(counts), 0, []
  ends = np.round(np.cumsum(share_of) * total).astype(int)
  sizes = np.diff(ends, prepend=0)
  for member, (count, size) in enumerate(zip(counts, sizes, strict=True)):
    places = np.arange(epoch * size, (epoch + 1) * size)
    passes = {
      number: np.random.default_rng([seed, member, number]).permutation(count)
      for number in np.unique(places // count)
    }
    drawn += [first + passes[place // count][place % count] for place in places]
    first += count
  order = np.array(drawn, np.int64)
  return order[np.random.default_rng([seed, epoch]).permutation(len(order))]
