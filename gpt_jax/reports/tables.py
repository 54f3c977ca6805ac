"""The paper's table: a line for each row and axis value, mean and spread over seeds."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt_jax.analysis import point_fields, results, seed_statistics
from gpt_jax.analysis.seed_statistics import Comparison, Summary
from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import loading
from gpt_jax.sweeps.mistakes import Mistake


@dataclasses.dataclass(frozen=True)
class TableLine:
  """One row of the experiment at one combination of axis values, seeds together."""

  row: str
  axes: Mapping[str, Any]  # those that vary in the study, seeds aside
  cells: Mapping[str, Summary]  # heading -> metric over seeds
  comparison: (
    Comparison | None
  )  # of the experiment's metric; None: the base, or no data
  num_finished: int
  num_wanted: int
  parameters: int | None  # None: no point is finished
  tokens: int | None
  flops: float | None
  seconds: float | None  # mean over seeds

  @property
  def seeds_text(self):
    """How many seeds the means are over: `3`, or `2 of 3`."""
    if self.num_finished == self.num_wanted:
      return str(self.num_wanted)
    return f'{self.num_finished} of {self.num_wanted}'


@dataclasses.dataclass(frozen=True)
class Table:
  """All lines, in the order of the sweep."""

  axes: tuple[str, ...]  # config fields that vary, seeds aside
  headings: tuple[str, ...]  # of the cells
  metric: str  # heading of the metric that comparisons are about
  compare_to: str  # row that the others are tested against
  lines: tuple[TableLine, ...]
  best: 'Table | None' = None  # the best line of each row over the axes `at_best`

  @property
  def is_compared(self):
    return any(line.comparison for line in self.lines)


def make_table(study, found):
  """Returns the Table of a Study and its Results.

  Raises ConfigError for a column that no finished point has.
  """
  columns = dict(study.experiment.columns)
  metric = study.experiment.metric
  heading = next((name for name, m in columns.items() if m == metric), metric)
  if heading not in columns:
    columns = {heading: metric} | columns
  groups = found.fresh().groups()
  axes = point_fields.varied_axes(study)
  cells = {
    name: [_summary(group, name, column, study) for group in groups]
    for name, column in columns.items()
  }
  base = base_row(study)
  bases = {
    _axes_of(group, axes): summary
    for group, summary in zip(groups, cells[heading], strict=True)
    if group.axis('row') == [base]
  }
  lines = [
    _line(
      group,
      axes,
      {name: summaries[i] for name, summaries in cells.items()},
      bases.get(_axes_of(group, axes)),
      heading,
    )
    for i, group in enumerate(groups)
  ]
  table = Table(tuple(axes), tuple(columns), heading, base, tuple(lines))
  best = _best_lines(study, table)
  return dataclasses.replace(
    table, best=dataclasses.replace(table, lines=best) if best else None
  )


def _best_lines(study, table):
  """Returns the best line of each row and combination of the axes not `at_best`.

  Compared to the best one of the base row; those whose seeds are not all there are not
  shown.
  """
  heading = table.metric
  # A size need not vary what another one does.
  tuned = [field for field in study.experiment.at_best if field in table.axes]
  together = {}
  for line in table.lines if tuned else ():
    rest = tuple(item for item in line.axes.items() if item[0] not in tuned)
    together.setdefault((line.row, rest), []).append(line)
  best = {}
  for key, candidates in together.items():
    if all(line.cells[heading].is_whole for line in candidates):
      means = {i: line.cells[heading].mean for i, line in enumerate(candidates)}
      i = results.best_of(means, study.experiment.higher_is_better)
      best[key] = candidates[i]
  found = []
  for (row, rest), line in best.items():
    other = best.get((table.compare_to, rest)) if row != table.compare_to else None
    against = other and other.cells[heading]
    comparison = _compare(line.cells[heading], against)
    found.append(dataclasses.replace(line, comparison=comparison))
  return tuple(found)


def _compare(one, other):
  """Returns the Comparison of two Summaries; None where they share no seed."""
  if other is None or not one.values.keys() & other.values.keys():
    return None
  return seed_statistics.compare(one.values, other.values)


def base_row(study):
  """Returns the row that others are compared to: `compare_to`, or the first one run."""
  rows = list(dict.fromkeys(point.row for point in study.points))
  wanted = study.experiment.compare_to
  return wanted if wanted in rows else next(iter(rows), wanted)


def _axes_of(group, axes):
  (point, *_) = group.points
  return tuple((field, point.axes[field]) for field in axes if field in point.axes)


def _summary(group, heading, column, study):
  """Returns the Summary of a column over the seeds of a group.

  A metric that other rows have and this one lacks gives an empty one.
  """
  values, unknown = {}, None
  for one in group:
    try:
      values[one.seed] = float(one.value(column))
    except ConfigError as error:
      unknown = error
    except results.NotEnoughData:
      continue
    except Exception as error:
      text = f'raises {type(error).__name__}: {error} for {one.point.name}'
      raise _mistake(study, heading, text, error) from error
  if unknown and not values and not _is_known(column, study, group):
    raise _mistake(study, heading, str(unknown), unknown) from unknown
  return Summary(values, len(group.points))


def _mistake(study, heading, text, error):
  source = loading.Source(study.path)
  text, line = f'columns[{heading!r}]: {text}', source.line_of_error(error)
  return source.error([Mistake(text, (heading,), line)])


def _is_known(column, study, group):
  everything = results.Results(study, group.found)
  return any(column in one.names() for one in everything)


def _line(group, axes, cells, base, heading):
  found = list(group)
  (point, *_) = group.points
  other = None if base is cells[heading] else base
  # Seeds have the same size; their times differ.
  first = found[0].value if found else lambda name: None
  return TableLine(
    row=point.row,
    axes=dict(_axes_of(group, axes)),
    cells=cells,
    comparison=_compare(cells[heading], other),
    num_finished=len(found),
    num_wanted=len(group.points),
    parameters=first('parameters'),
    tokens=first('tokens'),
    flops=first('flops'),
    seconds=float(np.mean([o.value('seconds') for o in found])) if found else None,
  )


def digits_of(summaries):
  """Returns the decimals that a column is shown with: two digits of its spread.

  Where no line has a spread: four significant digits of the smallest mean.
  """
  spreads = [s.spread for s in summaries if math.isfinite(s.spread) and s.spread > 0]
  means = [abs(s.mean) for s in summaries if math.isfinite(s.mean) and s.mean]
  if spreads:
    # The middle one: a line that hardly varies must not lengthen all others.
    return _decimals(float(np.median(spreads)), 2)
  return _decimals(min(means), 4) if means else 4


def _decimals(value, significant):
  return min(8, max(0, significant - 1 - math.floor(math.log10(value))))
