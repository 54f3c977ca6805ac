"""Which results a rule compares: rows, dicts of fields or functions, by seed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt_jax.analysis.results import NotEnoughData


def of(results: Any, which: Any, metric=None, at_best=None, higher=None):
  """Returns the Results that `which` chooses, at their own best value of `at_best`."""
  if isinstance(which, Mapping):
    part = where(results, which)
  elif which is None or isinstance(which, str):
    part = results.where(row=which)
  else:
    part = which(results)
  return part.best_over(at_best, metric, higher) if at_best else part


def where(results, fields):
  return results.where(**dict(fields))


def two(results, row, other, metric, at_best, higher):
  """Returns the `{seed: value}` of two parts, over the same seeds."""
  one, two = (
    of(results, which, metric, at_best, higher).by_seed(metric_of(results, metric))
    for which in (row, other)
  )
  shared = one.keys() & two.keys()
  if not shared:
    raise NotEnoughData(f'{row!r} and {other!r} have no seed in common.')
  return tuple({s: part[s] for s in sorted(shared)} for part in (one, two))


def metric_of(results, metric):
  return results.study.experiment.metric if metric is None else metric


def is_higher(results, higher):
  return results.study.experiment.higher_is_better if higher is None else higher


def gain(results, one, other, higher):
  gain = mean(one) - mean(other)
  return gain if is_higher(results, higher) else -gain


def mean(values):
  return float(np.mean(list(values.values())))


def means(row, one, than, other):
  return {label(row, 'first'): mean(one), label(than, 'second'): mean(other)}


def label(which, otherwise):
  if isinstance(which, Mapping):
    return ', '.join(
      str(value) if field == 'row' else f'{field}={value}'
      for field, value in which.items()
    )
  return which if isinstance(which, str) else otherwise


def name_of(metric):
  if metric is None:
    return 'the metric'
  if isinstance(metric, str) or dataclasses.is_dataclass(metric):
    return str(metric)  # such as a rules.FirstStep
  return getattr(metric, '__name__', 'a function').replace('_', ' ')
