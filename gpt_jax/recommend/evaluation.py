"""Scores of orders over the whole catalogue, by groups of users, with intervals.

All unseen items are ranked: metrics over a sample of them order methods differently
(Krichene & Rendle 2020, "On sampled metrics for item recommendation").
"""

import numpy as np

TOP = 10
METRICS = (f'ndcg_at_{TOP}', f'recall_at_{TOP}', 'auc')
RESAMPLES = 2000


def of_order(order, relevant, top=TOP):
  """Returns the METRICS of one order of items, for the set `relevant`.

  NDCG with gains 0 and 1 (Järvelin & Kekäläinen 2002); recall of the first `top`, of at
  most `top` relevant ones (Liang et al. 2018, arXiv:1802.05814, section 4.2); AUC: how
  often a relevant item stands before another one. Items that were not ranked are no
  part of it.
  """
  is_hit_I = np.isin(np.asarray(order, int), np.fromiter(relevant, int, len(relevant)))
  places = np.flatnonzero(is_hit_I)
  count, others = len(places), len(is_hit_I) - len(places)
  ideal = min(top, count)
  if not count:
    return dict.fromkeys(METRICS, float('nan'))
  gains = 1 / np.log2(places[places < top] + 2)
  best = (1 / np.log2(np.arange(ideal) + 2)).sum()
  before = places - np.arange(count)  # others that stand before each
  auc = 1 - before.sum() / (count * others) if others else float('nan')
  values = gains.sum() / best, (places < top).sum() / ideal, auc
  return dict(zip(METRICS, map(float, values), strict=True))


def of_users(orders, cases, keep=None):
  """Returns {metric: [value of each user]} of a method's orders.

  `keep`: rows to which what is relevant is cut, such as rare items; users without any
  are left out.
  """
  found = {name: [] for name in METRICS}
  for order, case in zip(orders, cases, strict=True):
    relevant = case.relevant if keep is None else case.relevant & keep
    if relevant:
      values = of_order(order, relevant)
      for name in METRICS:
        found[name].append(values[name])
  return found


def difference(one_U, other_U, seed=0):
  """Returns (mean difference, its 95 % interval) over users, by a paired bootstrap."""
  gaps_U = np.asarray(one_U) - np.asarray(other_U)
  rng = np.random.default_rng(seed)
  drawn_RU = rng.integers(0, len(gaps_U), (RESAMPLES, len(gaps_U)))
  low, high = np.quantile(gaps_U[drawn_RU].mean(axis=1), (0.025, 0.975))
  return float(gaps_U.mean()), (float(low), float(high))


def summary(per_seed):
  """Returns {metric: (mean, deviation over seeds)} of per-user values of each seed."""
  found = {}
  for name in METRICS:
    means = [float(np.mean(values[name])) for values in per_seed]
    found[name] = (
      float(np.mean(means)),
      float(np.std(means, ddof=min(1, len(means) - 1))),
    )
  return found


def verdict(values, own, rivals, metric=METRICS[0]):
  """Returns a sentence for each rival: is `own` better, and by how much?

  `values`: {method: [value of each user, the mean over seeds]}.
  """
  lines = []
  for rival in rivals:
    gap, (low, high) = difference(values[own], values[rival])
    how = (
      'better than' if low > 0 else 'worse than' if high < 0 else 'no different from'
    )
    lines.append(
      f'{own} is {how} {rival}: {metric} {gap:+.4f} (95 % {low:+.4f} to {high:+.4f},'
      f' {len(values[own])} users)'
    )
  return lines
