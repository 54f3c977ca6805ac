"""What a study has found, as one object: its table, verdicts and what is missing."""

import ast
import collections
import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from gpt_jax.analysis import results, verdict_log, verdicts
from gpt_jax.analysis.results import Results
from gpt_jax.analysis.verdicts import Verdict
from gpt_jax.config import diff, load
from gpt_jax.reports import tables
from gpt_jax.reports.tables import Table
from gpt_jax.sweeps import costs, states
from gpt_jax.sweeps.experiment import Figure
from gpt_jax.sweeps.points import Study
from gpt_jax.sweeps.states import State
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass(frozen=True)
class Report:
  """A study's findings at one moment; figures and pages are drawn from it."""

  title: str  # the first line of the file's docstring
  question: str  # the rest of the docstring
  name: str
  size: str
  file: str  # the experiment file, as it was given
  date: str  # ISO, UTC
  machine: str  # what the size is for
  ran_on: tuple[str, ...]  # host, cores and devices of the runs
  commits: tuple[str, ...]  # of the runs; '+' after one with uncommitted changes
  wall_seconds: float  # in which at least one point was at work
  num_points: int
  missing: tuple[str, ...]  # names of points that are not finished
  states: Mapping[str, State]  # of those: running, failed, changed, ...
  changed: tuple[str, ...]  # in words: points that ran with another config
  diverged: tuple[str, ...]  # ... of those that have ended so
  table: Table
  verdicts: tuple[Verdict, ...]
  earlier: tuple[Mapping[str, Any], ...]  # log entries that are no longer in force
  differences: Mapping[
    str, tuple[tuple[str, Any, Any], ...]
  ]  # row -> from the base row; without what varies within a row
  figures: tuple[Figure, ...]
  study: Study
  results: Results

  @property
  def is_complete(self):
    return not self.missing


def make_report(study):
  """Returns the Report of a Study, finished or not; writes nothing."""
  found = results.Results(study)
  missing = [one for one in found.missing if one.name == one.workdir.name]
  title, question = _docstring(study.path)
  starts = [start for one in found for start in _starts(one)]
  logged = verdict_log.read(study.folder)
  found_states = states.of_each(states.state_of, missing)
  states_of = {point.name: state for point, state in found_states.items()}
  judged = [_with_changes(one, states_of) for one in verdicts.judge(study, found)]
  verdict_log.require_same_rules(study, judged, logged)
  return Report(
    title=title,
    question=question,
    name=study.name,
    size=study.size,
    file=str(study.path),
    date=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    machine=study.experiment.sizes[study.size].machine,
    ran_on=_distinct(map(_machine, starts)),
    commits=_distinct(filter(None, map(_commit, starts))),
    wall_seconds=costs.union_seconds(part for one in found for part in one.intervals),
    num_points=len(study.points),
    missing=tuple(point.name for point in missing),
    states=states_of,
    changed=_changed(states_of.values()),
    diverged=tuple(one.point.name for one in found if one.diverged),
    table=tables.make_table(study, found),
    verdicts=tuple(judged),
    earlier=verdict_log.earlier(judged, logged),
    differences=_differences(study, found),
    figures=study.experiment.figures,
    study=study,
    results=found.fresh(),
  )


def _docstring(path):
  text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or path.stem
  title, _, rest = text.partition('\n')
  return title.strip(), rest.strip()


def _starts(result):
  return provenance.read_starts(Workdir(result.point.workdir))


def _distinct(values):
  return tuple(dict.fromkeys(values))


def _machine(start):
  devices, cores = start.get('devices', {}), start.get('cores')
  shown = f'{devices.get("count")} {devices.get("kind")}'
  if devices.get('platform') == 'cpu':  # a device there is no core
    count = devices.get('count')
    shown = f'{count} JAX device{"s" * (count != 1)}'
    shown = f'{cores} cores, {shown}' if cores else f'{shown} on a CPU'
  return f'{start.get("hostname")}: {shown}'


def _commit(start):
  git = start.get('git')
  return git and git['commit'][:12] + '+' * bool(git['dirty'])


def _changed(found):
  """Returns for each set of changed fields how many of the States have it, in words."""
  counts = collections.Counter(
    ', '.join(f'{field} {old!r} -> {new!r}' for field, old, new in state.changes)
    for state in found
    if state.kind == states.CHANGED
  )
  return tuple(
    f'{number} point{"s" * (number != 1)} ran with another config: {fields}'
    for fields, number in counts.items()
  )


def _with_changes(verdict, states_of):
  """Returns `verdict`, its note saying which of its missing points have changed."""
  found = [states_of[name] for name in verdict.missing if name in states_of]
  told = [f'{text}.' for text in _changed(found)]
  note = ' '.join(filter(None, [verdict.note, *told]))
  return dataclasses.replace(verdict, note=note)


def _differences(study, found):
  """Returns `{row: ((field, base row's value, row's value), ...)}`.

  Without axes, and fields that vary within a row: those are of a point.
  """
  base = tables.base_row(study)
  configs, varying = {}, {}
  for group in found.groups():
    (point, *_) = group.points
    config = load.to_dict(point.config)
    first = configs.setdefault(point.row, config)
    others = varying.setdefault(point.row, set())
    others.update(field for field, *_ in diff.diff(first, config))
  if base not in configs:
    return {}
  axes = {field for point in study.points for field in point.axes} | varying[base]
  # Where a study lies is no difference, and a seed of it no row.
  rows = {str(point.workdir): f'row {point.row}' for point in study.points}

  def shown(value):
    return rows.get(value, value) if isinstance(value, str) else value

  return {
    row: tuple(
      (field, shown(old), shown(new))
      for field, old, new in diff.diff(configs[base], config)
      if field not in axes | varying[row]
    )
    for row, config in configs.items()
    if row != base
  }
