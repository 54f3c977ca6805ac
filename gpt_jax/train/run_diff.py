"""In what two runs differ: config, code, versions, machine, data, and their metrics.

Reads what the folders hold, whatever that is: runs may be in progress, of an earlier
version, or have lost files, which are named.
"""

import dataclasses
from typing import Any

from gpt_jax.config import load
from gpt_jax.config.diff import diff
from gpt_jax.core.errors import CheckpointError, ConfigError, StorageError
from gpt_jax.program import setup
from gpt_jax.tracking import metrics_diff
from gpt_jax.workdir import checkout, files, lock, provenance
from gpt_jax.workdir.paths import Workdir

TOLERANCES = {'float32': 1e-5, 'float16': 3e-4, 'bfloat16': 1e-3}
"""Dtype of the matmuls -> how far apart rounding alone brings two losses, as a share of
them, within some 20 steps: ten times what trial runs gave (docs/runs.md)."""
MACHINE = ('devices', 'processes', 'hostname', 'system')


@dataclasses.dataclass(frozen=True)
class Run:
  """What the folder of a run says."""

  workdir: Workdir
  config: dict[str, Any] | None  # under today's names, all Nones filled in
  starts: list[dict[str, Any]]
  events: list[dict[str, Any]]
  metrics: dict[int, dict[str, Any]]  # by step
  scores: dict[str, float]  # of the last evaluation, SET/METRIC
  writer: lock.Owner | None  # the process that trains there now
  missing: dict[str, str]  # name of a file -> why it was not read

  @property
  def first_start(self):
    """Returns the start that made the first steps: the last one from step 0, or {}."""
    anew = (start for start in reversed(self.starts) if not start.get('step'))
    return next(anew, self.starts[0] if self.starts else {})

  @property
  def last_start(self):
    return self.starts[-1] if self.starts else {}

  @property
  def last_step(self):
    return max(self.metrics, default=0)

  @property
  def dtype(self):
    return (self.config or {}).get('model', {}).get('dtype', 'float32')


@dataclasses.dataclass(frozen=True)
class RunDiff:
  """In what two Runs differ; rows are (dotted name, of the first, of the second)."""

  runs: tuple[Run, Run]
  sections: dict[str, list[tuple[str, Any, Any]] | None]  # None: a file is missing
  code: dict[str, Any]
  metrics: metrics_diff.Comparison
  finals: list[tuple[str, float | None, float | None]]

  def to_dict(self):
    """Returns JSON values."""
    found = self.metrics
    return dict(
      runs=[
        dict(
          workdir=str(run.workdir),
          last_step=run.last_step,
          in_progress=run.writer is not None,
          missing=run.missing,
          starts=[_short(start) for start in run.starts],
          events=run.events,
        )
        for run in self.runs
      ],
      **self.sections,
      code=self.code,
      metrics=dict(
        steps_compared=len(found.steps),
        first_step=min(found.steps, default=None),
        last_step=max(found.steps, default=None),
        names=found.metrics,
        bitwise=found.is_bitwise,
        tolerance=found.tolerance,
        within_tolerance=found.is_within_tolerance,
        parts_at=[each.to_dict() for each in found.parts_at],
        beyond_tolerance_at=[each.to_dict() for each in found.beyond_at],
        largest=[each.to_dict() for each in found.largest.values()],
      ),
      final={name: values for name, *values in self.finals},
    )


def read(path, with_config=True):
  """Returns the Run in the folder `path`; CheckpointError where there is none."""
  workdir, missing = Workdir(path), {}

  def take(file, reader, default):
    try:
      if not file.exists():
        missing[file.name] = 'not there'
        return default
      return reader()
    except (OSError, StorageError, CheckpointError, ConfigError) as error:
      missing[file.name] = str(error)
      return default

  run = Run(
    workdir=workdir,
    config=take(workdir.config, lambda: _config(workdir), None)
    if with_config
    else None,
    starts=take(workdir.run, lambda: provenance.read_starts(workdir), []),
    events=[],
    metrics=take(workdir.metrics, lambda: metrics_diff.by_step(workdir.metrics), {}),
    scores=take(workdir.eval, lambda: _scores(workdir.eval), {}),
    writer=_writer(workdir),
    missing=missing,
  )
  if not (run.config or run.starts or run.metrics):
    raise CheckpointError(
      f'{path}: no run there that can be read'
      f' ({", ".join(f"{name}: {why}" for name, why in missing.items())}); expected the'
      ' --workdir of `gpt-jax train`.'
    )
  events = provenance.read_events(workdir) if run.starts else []
  return dataclasses.replace(run, events=events)


def compare(first, second, tolerance=None):
  """Returns the RunDiff of two Runs.

  `tolerance`: of `metrics_diff.compare`; None: that of the coarser of their dtypes.
  """
  runs = first, second
  if tolerance is None:
    tolerance = max(TOLERANCES[run.dtype] for run in runs)
  starts = [run.last_start for run in runs]
  sections = {
    'config': None if None in (first.config, second.config) else diff(
      first.config, second.config
    ),
    'versions': start_rows(starts, ('python', 'versions')),
    'machine': start_rows(starts, MACHINE),
    'mesh': start_rows(starts, ('mesh',)),
    'data': start_rows(starts, ('data',)),
  }  # fmt: skip
  return RunDiff(
    runs=runs,
    sections=sections,
    code=code_diff(*(start.get('git') for start in starts)),
    metrics=metrics_diff.compare(first.metrics, second.metrics, tolerance),
    finals=_finals(first, second),
  )


def code_diff(first, second):
  """Returns what differs between two `provenance.git_state`s, as JSON values.

  `same` is None where a run has recorded no code. Between two commits that are in the
  repository of this code, `commits_apart` and `files_apart` say how far they are.
  """
  found: dict[str, Any] = dict(
    same=None if None in (first, second) else first == second,
    first=_described(first),
    second=_described(second),
    commits_apart=None,
    files_apart=None,
  )
  if found['same'] is False and first['commit'] != second['commit']:
    root = checkout.root_of(provenance.CODE)
    pair = first['commit'], second['commit']
    patch = root and checkout.patch_between(root, *pair)
    if root and patch is not None:
      found['commits_apart'] = checkout.commits_between(root, *pair)
      found['files_apart'] = checkout.changed_lines(patch)
  return found


def changed_between_starts(run):
  """Returns [(step, field, old, new)]: code, versions, machine of each later start."""
  found = []
  for old, new in zip(run.starts, run.starts[1:], strict=False):
    names = ('python', 'versions', *MACHINE, 'mesh', 'data')
    rows = start_rows((old, new), names) or []
    if old.get('git') != new.get('git'):
      rows = [('code', *(code_name(start.get('git')) for start in (old, new))), *rows]
    found += [(new.get('step', 0), *row) for row in rows]
  return found


def code_name(state):
  """Returns a `provenance.git_state` in a few words."""
  if not state:
    return 'not in git'
  return state['commit'][:10] + (' and changes' if state['dirty'] else '')


def _short(start):
  """Returns a start without its patch, which `code` has."""
  state = start.get('git')
  kept = {k: state[k] for k in ('commit', 'dirty')} if state else None
  return start | dict(git=kept)


def _described(state):
  if not state:
    return None
  return dict(
    commit=state['commit'],
    dirty=state['dirty'],
    files=checkout.changed_lines(state['patch']),
    untracked=state['untracked'],
    patch=state['patch'],
  )


def start_rows(starts, names):
  """Returns the differences in the `names` of two starts; None where one lacks all."""
  parts = [{name: start[name] for name in names if name in start} for start in starts]
  if not all(parts):
    return None
  if len(names) == 1:  # the section is called like it
    return diff(*(part[names[0]] for part in parts))
  return diff(*parts)


def _config(workdir):
  saved = workdir.read_config()
  try:
    return load.to_dict(setup.resolve(saved, must_import=False))
  except ConfigError:  # of a plug-in that is not here, or whose options have changed
    return saved


def _scores(path):
  saved = files.read_json(path)
  return {
    f'{name}/{key}': value
    for name, metrics in saved.items()
    if isinstance(metrics, dict)
    for key, value in metrics.items()
  }


def _writer(workdir):
  return lock.living_owner(workdir.path)


def _finals(first, second):
  """Returns rows of the last evaluation and of the last losses in training."""
  finals = []
  for run in (first, second):
    last = run.metrics[run.last_step] if run.metrics else {}
    finals.append(
      {n: v for n, v in last.items() if n.startswith('train/')} | run.scores
    )
  names = sorted(
    (finals[0].keys() | finals[1].keys()) - set(metrics_diff.CLOCK_METRICS)
  )
  return [(name, finals[0].get(name), finals[1].get(name)) for name in names]
