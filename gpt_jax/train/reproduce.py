"""Trains the first steps of a run again, with its code, and compares with its log.

The training is a process of its own, `gpt-jax train` of the recorded commit in a fresh
folder, which is ended once the last step to compare has been logged.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from gpt_jax.config.diff import diff
from gpt_jax.core.errors import (
  CheckpointError,
  ConfigError,
  DataError,
  DivergedError,
  StorageError,
  UserError,
)
from gpt_jax.data.pipeline import ADDED_TO_FINGERPRINT
from gpt_jax.interop import open_model
from gpt_jax.storage import mirror, objects
from gpt_jax.tracking import metrics_diff
from gpt_jax.train import changes, recorded_code, run_diff
from gpt_jax.workdir import files
from gpt_jax.workdir.paths import Workdir

RECORDS = 20  # to compare unless told how many steps
SECONDS = 60  # after the first step, unless told how many steps
LOG = 'train.log'
_QUIET = {
  'eval.every_steps': 0,
  'checkpoint.every_steps': 0,
  'logging.tensorboard': False,
  'logging.wandb_project': '',
  'logging.sample_prompts': [],
  'logging.figures': False,
  'logging.profile_steps': 0,
}
"""What takes time and changes no number of the training."""
_ENVIRONMENT = ('python', 'versions', 'devices', 'processes', 'mesh')
_ERRORS = {
  kind.exit_code: kind for kind in (ConfigError, DataError, CheckpointError,
                                    StorageError, DivergedError)
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reproduction:
  """What came of it."""

  run: run_diff.Run
  code: recorded_code.Code
  again: run_diff.Run  # the new training
  comparison: metrics_diff.Comparison
  differences: list[tuple[str, Any, Any]]  # versions, machine, mesh: log, now
  notes: list[str]
  seconds: float

  @property
  def verdict(self):
    """Returns `bitwise`, `within tolerance` or `not reproduced`."""
    if self.comparison.is_bitwise:
      return 'bitwise'
    within = self.comparison.is_within_tolerance
    return 'within tolerance' if within else 'not reproduced'

  def to_dict(self):
    """Returns JSON values."""
    found = self.comparison
    return dict(
      run=str(self.run.workdir),
      verdict=self.verdict,
      dtype=self.run.dtype,
      tolerance=found.tolerance,
      steps=list(found.steps),
      metrics=list(found.metrics),
      parts_at=[each.to_dict() for each in found.parts_at],
      beyond_tolerance_at=[each.to_dict() for each in found.beyond_at],
      largest=[each.to_dict() for each in found.largest.values()],
      code=self.code.description,
      commit=self.code.commit,
      differences=[list(row) for row in self.differences],
      notes=self.notes,
      workdir=str(self.again.workdir),
      seconds=self.seconds,
    )


def reproduce(path, *, steps=None, commit='checkout', workdir=None, progress=iter):
  """Returns the Reproduction of the run in the folder `path`.

  Args:
    steps: how many to train; None: RECORDS logged ones, or as many as SECONDS allow.
    commit: `checkout`: the recorded code; `here`: the code as it is now.
    workdir: the fresh folder, which stays; None: a temporary one.
    progress: wraps an iterable of the steps as they are logged.
  Raises UserErrors of all kinds where the run cannot be trained again.
  """
  run = run_diff.read(path)
  last, notes = last_step(run, steps)
  config = first_config(run)
  _require_source(config)
  code_of = recorded_code.choose(run, config, commit)
  begin = time.monotonic()
  with _fresh_folder(workdir) as fresh, code_of as code:
    _prepare(run, config, fresh)
    seconds = SECONDS if steps is None else None
    for _ in progress(_train(run, code, fresh, last, seconds)):
      pass
    again = run_diff.read(fresh, with_config=False)
  differences = _differences(run, again)
  tolerance, why = _tolerance(run, again)
  comparison = metrics_diff.compare(run.metrics, again.metrics, tolerance, up_to=last)
  notes += code.notes + why
  if any(each.metric == 'train/learning_rate' for each in comparison.parts_at):
    notes.append(
      'the learning rates differ: the schedule is that of config.json, and the run may'
      ' have begun with fewer steps and been extended'
    )
  if comparison.steps and comparison.steps[-1] < last:
    notes.append(f'compared up to step {comparison.steps[-1]} of {last} in the time')
  took = time.monotonic() - begin
  return Reproduction(run, code, again, comparison, differences, notes, took)


def last_step(run, wanted=None):
  """Returns (the last logged step to compare, notes); errors where there is none."""
  ends = [(e['step'], 'config') for e in run.events if e['kind'] == changes.KIND]
  end, other = min([*ends, *_changes_of_starts(run)], default=(None, ''))
  logged = sorted(
    step
    for step, values in run.metrics.items()
    if 'train/loss' in values and (end is None or step <= end)
  )
  if not logged:
    raise CheckpointError(
      f'{run.workdir.metrics}: no step of training is logged there'
      f' ({run.missing.get("metrics.jsonl", "empty")}), so there is nothing to compare'
      ' with.'
    )
  notes = []
  if end is not None:
    notes.append(
      f'the run was resumed with another {other} after step {end}: up to there'
    )
  if wanted is None:
    return logged[:RECORDS][-1], notes
  if not logged[0] <= wanted <= logged[-1]:
    raise ConfigError(
      f'--steps={wanted}: expected a step from {logged[0]} to {logged[-1]}, those in'
      f' {run.workdir.metrics} under the first config, code and devices.'
    )
  last = max(step for step in logged if step <= wanted)
  if last < wanted:
    notes.append(f'of the steps up to {wanted}, the last one that was logged is {last}')
  return last, notes


def _changes_of_starts(run):
  """Yields (step, what) where a start continues with what may change its numbers."""
  first = run.first_start
  for start in run.starts[run.starts.index(first) + 1 :] if run.starts else ():
    if step := start.get('step'):
      code = [
        (one.get('git') or {}).get(key)
        for one in (first, start)
        for key in ('commit', 'patch')
      ]
      if code[:2] != code[2:]:
        yield step, f'commit ({run_diff.code_name(start.get("git"))})'
      for field, _, now in run_diff.start_rows((first, start), _ENVIRONMENT) or ():
        yield step, f'{field} ({now})'


def first_config(run):
  """Returns the config of the first step as it was saved, made quiet."""
  if run.config is None:
    why = run.missing.get('config.json', 'it cannot be read')
    raise CheckpointError(f'{run.workdir.config}: {why}; without it no run starts.')
  config = changes.config_at(files.read_json(run.workdir.config), run.events, 1)
  returns = config.get('guard', {}).get('spikes') == 'rollback'  # to a checkpoint
  for field, value in _QUIET.items():
    section, name = field.split('.')
    if name in config.get(section, {}) and not (returns and section == 'checkpoint'):
      config[section][name] = value
  return config


def _require_source(config):
  sources = {
    'init_from': config.get('init_from'),
    'peft.init_from': config.get('peft', {}).get('init_from'),
  }
  for field, source in sources.items():
    if not source or open_model.is_model(source):
      continue
    if Workdir(source).checkpoints.is_dir():
      continue
    raise CheckpointError(
      f'{field}={source!r}: the run began with the parameters of that one, which is'
      ' not there (any more); restore it, or run this in the folder that the path is'
      ' relative to.'
    )


@contextlib.contextmanager
def _fresh_folder(workdir):
  """Gives the Workdir to train in; a temporary one is deleted at the end."""
  if workdir is None:
    with tempfile.TemporaryDirectory(prefix='gpt_jax_repro_') as folder:
      yield Workdir(folder)
    return
  fresh = Workdir(workdir)
  if fresh.config.exists():
    raise StorageError(f'--workdir={workdir}: holds a run; give a new folder.')
  yield fresh.create()


def _prepare(run, config, fresh):
  fresh.write_config(config)
  if run.workdir.tokenizer.is_dir():  # what was trained there is not trained again
    with mirror.copied(run.workdir.tokenizer) as kept:
      if fresh.is_remote:
        objects.upload(kept, fresh.tokenizer)
      else:
        shutil.copytree(kept, fresh.tokenizer)


def _train(run, code, fresh, last, seconds):
  """Yields the steps that are logged, up to `last` or for some `seconds`."""
  log = fresh.logs / LOG  # of a run in a bucket on this machine
  log.parent.mkdir(parents=True, exist_ok=True)
  with open(log, 'wb') as output, _process(code, fresh, output) as process:
    seen, begin, is_checked = 0, None, False
    while True:
      code_of_exit = process.poll()
      if not is_checked and fresh.run.exists():
        _require_same_data(run, run_diff.read(fresh, with_config=False))
        is_checked = True
      steps = sorted(_logged(fresh))
      yield from steps[seen:]
      seen = len(steps)
      if steps and begin is None:
        begin = time.monotonic()
      common = [step for step in steps if step in run.metrics]
      is_late = seconds is not None and begin and time.monotonic() - begin > seconds
      if (steps and steps[-1] >= last) or (is_late and len(common) > 1):
        return
      if code_of_exit is not None:
        if code_of_exit == DivergedError.exit_code and common:
          return  # as the run itself did, or not: the losses say it
        raise _failed(code_of_exit, log)
      time.sleep(0.1)


def _logged(fresh):
  if not fresh.metrics.exists():
    return []
  found = metrics_diff.by_step(fresh.metrics)
  return [step for step, values in found.items() if 'train/loss' in values]


@contextlib.contextmanager
def _process(code, fresh, output):
  """Gives the process that trains; it is ended when the block is left."""
  here = os.getcwd()
  # The recorded code before all else; plug-ins and data paths are found from here.
  paths = [str(code.root), here, os.environ.get('PYTHONPATH', '')]
  environment = dict(
    os.environ, PYTHONSAFEPATH='1', PYTHONPATH=os.pathsep.join(filter(None, paths))
  )
  process = subprocess.Popen(
    [sys.executable, '-m', 'gpt_jax', 'train', f'--workdir={fresh}'],
    cwd=here, env=environment, stdout=output, stderr=subprocess.STDOUT,
  )  # fmt: skip
  try:
    yield process
  finally:
    # What was logged is on the disk, and its checkpoint is of no use.
    process.kill()
    process.wait()


def _failed(code, log):
  lines = pathlib.Path(log).read_text(errors='replace').strip().splitlines()
  kind = _ERRORS.get(code, UserError)
  return kind(
    f'the training ended with exit code {code} before its first steps were logged. Its'
    ' last lines (paths in its config are relative to the present folder):\n'
    + '\n'.join(f'  {line}' for line in lines[-12:])
  )


def _require_same_data(run, again):
  """Raises DataError where the tokens trained on now are others than in the log."""
  pair = run.first_start.get('data'), again.first_start.get('data')
  found = [
    (field, old, new)
    for field, old, new in (diff(*pair) if all(pair) else [])
    if field.rpartition('.')[2] not in ADDED_TO_FINGERPRINT
  ]
  if found:
    listed = '\n'.join(f'  {field}: {old!r} -> {new!r}' for field, old, new in found)
    raise DataError(
      f'the data are not those of {run.workdir}:\n{listed}\nBring the old data back: on'
      ' others no loss can be compared.'
    )


def _differences(run, again):
  starts = run.first_start, again.first_start
  return run_diff.start_rows(starts, (*_ENVIRONMENT, 'system')) or []


def _tolerance(run, again):
  """Returns (the share by which losses may differ, notes that say why)."""
  mine, theirs = (each.first_start.get('devices', {}) for each in (again, run))
  if theirs and mine.get('kind') != theirs.get('kind'):
    note = (
      f'trained on {theirs["kind"]}, now on {mine.get("kind")}: these multiply float32'
      ' matrices in other precisions, so the tolerance is that of bfloat16'
    )
    return run_diff.TOLERANCES['bfloat16'], [note]
  return run_diff.TOLERANCES[run.dtype], []
