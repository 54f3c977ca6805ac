"""Lists, verifies, inspects, averages, merges saved steps of a run, on any machine.

ls       each step: date, size, metric, why it is kept, whether its files are complete
verify   compares every byte with the digests that were saved; exit code 4 on damage
show     the arrays of a step; with --statistics their mean and standard deviation
average  a new workdir, --out, whose parameters are the mean of those of several steps
         (arXiv:1803.05407); eval, generate and export take it as they take any run.
         It is of raw parameters: an average of optimizer.ema_decay is left out
merge    a new workdir, --out, with the plain model that a run with an adapter computes
combine  a new workdir, --out, with the weighted sum of the LoRA adapters of several
         runs over one base; a weight below zero takes a task away. --how=cat is exact,
         ranks add up; linear sums factors of equal rank, and is not the sum of updates
rebase   of a run with an adapter: its base has moved to --base. All arrays of it are
         compared before config.json says so; it is the one action that changes a run
No accelerator is used: all but rebase work while a training runs.

examples:
  gpt-jax checkpoint ls --workdir=runs/tiny
  gpt-jax checkpoint verify --workdir=runs/tiny --step=500
  gpt-jax checkpoint show --workdir=runs/tiny --statistics
  gpt-jax checkpoint average --workdir=runs/tiny --steps=300,400,500 --out=runs/mean
  gpt-jax checkpoint average --workdir=runs/tiny --last=3 --out=runs/mean
  gpt-jax checkpoint merge --workdir=runs/lora --out=runs/merged
  gpt-jax checkpoint combine --adapters=runs/a,runs/b --weights=0.7,0.3 --out=runs/sum
  gpt-jax checkpoint rebase --workdir=runs/lora --base=models/minilm
"""

import argparse
import datetime
import json
import math
import os
import shlex
from typing import Any

from gpt_jax.commands import flags
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.workdir import path_lists


def add_arguments(parser):
  parser.add_argument(
    'action',
    choices=('ls', 'verify', 'show', 'average', 'merge', 'combine', 'rebase'),
    help='see above',
  )
  flags.add_workdir(parser, required=False)
  parser.add_argument(
    '--out', metavar='DIR', help='average, merge, combine: the new workdir'
  )
  parser.add_argument(
    '--step',
    type=int,
    metavar='N',
    help='default: the newest (show, merge; of a task the best), all (verify)',
  )
  parser.add_argument(
    '--statistics', action='store_true', help='show: read the arrays, give mean and std'
  )
  parser.add_argument(
    '--base', metavar='MODEL', help='rebase: a run, a Hugging Face folder, a GGUF file'
  )
  group = parser.add_argument_group('average')
  group.add_argument(
    '--steps', type=_steps, metavar='N,N', help='those to average, such as 10,20,30'
  )
  group.add_argument('--last', type=int, metavar='N', help='or the newest so many')
  group = parser.add_argument_group('combine')
  group.add_argument(
    '--adapters', type=path_lists.split, metavar='RUN,RUN', help='LoRA runs'
  )
  group.add_argument(
    '--weights', type=_weights, metavar='W,W', help='one for each, such as 0.7,-0.3'
  )
  group.add_argument('--how', choices=('cat', 'linear'), default='cat')
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  os.environ['JAX_PLATFORMS'] = 'cpu'  # a run may hold the accelerators
  import jax

  jax.config.update('jax_platforms', 'cpu')
  from gpt_jax.checkpoints.reader import CheckpointReader
  from gpt_jax.workdir.paths import Workdir

  if args.action == 'combine':
    return _combine(args)
  if not args.workdir:
    raise ConfigError(f'checkpoint {args.action}: --workdir is missing; name a run.')
  workdir = Workdir(args.workdir)
  if not workdir.checkpoints.is_dir():
    raise CheckpointError(
      f'{workdir.checkpoints}: no such folder; expected the --workdir of a run that has'
      ' saved a step.'
    )
  if args.action == 'average':
    return _average(args)
  if args.action == 'merge':
    return _merge(args)
  if args.action == 'rebase':
    return _rebase(args)
  with CheckpointReader(workdir.checkpoints) as store:
    if args.action == 'ls':
      keeping = (workdir.read_config() or {}).get('checkpoint', {})
      return _ls(args, store, keeping)
    return (_verify if args.action == 'verify' else _show)(args, store)


def _steps(text):
  try:
    return [int(part) for part in text.split(',')]
  except ValueError as error:
    raise argparse.ArgumentTypeError(
      f'{text!r}: expected numbers of steps, such as 10,20,30.'
    ) from error


def _weights(text):
  try:
    return [float(part) for part in text.split(',')]
  except ValueError as error:
    raise argparse.ArgumentTypeError(
      f'{text!r}: expected numbers, such as 0.7,0.3.'
    ) from error


def _require_out(args):
  if not args.out:
    raise ConfigError(
      f'checkpoint {args.action}: --out is missing; name the new workdir.'
    )


def _merge(args):
  from gpt_jax.train import merge

  _require_out(args)
  step = merge.merge(args.workdir, args.out, step=args.step)
  print(f'{args.out}: holds the plain model of step {step}')
  print(f'next: gpt-jax eval --workdir={shlex.quote(args.out)}')
  if args.json:
    print(json.dumps(dict(workdir=args.out, step=step)))


def _rebase(args):
  from gpt_jax.train import rebase

  if not args.base:
    raise ConfigError('checkpoint rebase: --base is missing; name the model.')
  base = rebase.rebase(args.workdir, args.base)
  print(f'{args.workdir}: its base is {args.base} (fingerprint {base.fingerprint})')
  if args.json:
    print(json.dumps(dict(workdir=args.workdir, base=args.base)))


def _combine(args):
  from gpt_jax.train import combine

  _require_out(args)
  if not args.adapters or not args.weights:
    raise ConfigError(
      'checkpoint combine: expected --adapters=RUN,RUN and --weights=W,W, one for each.'
    )
  ranks = combine.combine(args.adapters, args.weights, args.out, how=args.how)
  terms = ' + '.join(
    f'{weight:g} x {run}'
    for run, weight in zip(args.adapters, args.weights, strict=True)
  )
  what = (
    'the sum of updates' if args.how == 'cat' else 'factors summed: no sum of updates'
  )
  print(f'{args.out}: holds {terms} ({what}), of rank {max(ranks.values())} at most')
  if combine.has_task_head(args.adapters[0]):
    print(
      f'its task head is that of {args.adapters[0]}: heads are no updates of a base'
    )
  if (stored := combine.base_storage(args.out)) != 'as_is':
    print(f'its base stays rounded as that of the adapters: {stored}')
  print(f'next: gpt-jax eval --workdir={shlex.quote(args.out)}')
  if args.json:
    print(json.dumps(dict(workdir=args.out, rank=max(ranks.values()), how=args.how)))


def _average(args):
  from gpt_jax.train import average

  _require_out(args)
  steps = average.average(args.workdir, args.out, steps=args.steps, last=args.last)
  listed = ', '.join(map(str, steps))
  print(
    f'{args.out}: holds the mean of the raw parameters of steps {listed}, not of'
    ' their EMA'
  )
  print(f'next: gpt-jax eval --workdir={shlex.quote(args.out)}')
  if args.json:
    print(json.dumps(dict(workdir=args.out, steps=steps)))


def _table(title, columns, rows):
  """Prints a table as wide as its content: numbers are not truncated."""
  from gpt_jax.tracking import console

  cells = zip(columns, *rows, strict=True)
  width = sum(max(map(len, column)) + 3 for column in cells) + 3
  wide = console.make_console(width=width)
  console.table(title, columns, rows, console=wide)


def _ls(args, store, keeping):
  from gpt_jax.tracking import console

  rows = _overview(store, keeping)
  metric = keeping.get('best_metric', '')
  shown = [
    (
      str(row['step']),
      row['saved'][:19],
      f'{row["bytes"] / 1e6:,.1f} MB',
      console.number(row['metrics'][metric]) if metric in row['metrics'] else '-',
      row['kept'],
      row['state'],
    )
    for row in rows
  ]
  columns = ('step', 'saved', 'size', metric or 'metric', 'kept because', 'files')
  _table(str(store.directory), columns, shown)
  if args.json:
    print(json.dumps(rows))


def _overview(store, keeping):
  """Returns a dict for each step, quarantined ones last."""
  from gpt_jax.checkpoints import integrity, retention

  best = retention.BestSteps(
    keeping.get('best_metric', ''),
    keeping.get('keep_best', 0),
    keeping.get('best_mode', 'min'),
  )
  steps, metrics = store.steps(), {}
  for step in steps:
    try:
      metrics[step] = store.read_metrics(step)
      best.record(step, metrics[step])
    except CheckpointError:
      metrics[step] = {}
  why = retention.why_kept(steps, best)
  rows = []
  for step in steps:
    files = _files(store.directory / str(step), store.integrity.predates_digests(step))
    rows.append(dict(step=step, metrics=metrics[step], kept=why[step]) | files)
  for folder in integrity.quarantined_steps(store.directory):
    reason = 'quarantined: damaged'
    rows.append(dict(step=folder.name, metrics={}, kept=reason) | _files(folder, False))
  return rows


def _files(folder, predates_digests) -> dict[str, Any]:
  """Returns date, size and state of a step's folder, without reading its files."""
  from gpt_jax.checkpoints import digests, manifest
  from gpt_jax.storage import objects
  from gpt_jax.storage.urls import is_remote

  sizes = [size for _, size in objects.files_below(folder)]
  damages = [] if predates_digests else digests.verify(folder, quick=True)
  state = 'no digests' if predates_digests else 'all there'
  dated = folder / manifest.FILE if is_remote(folder) else folder
  saved = datetime.datetime.fromtimestamp(objects.changed_at(dated)).astimezone()
  return dict(
    saved=saved.isoformat(' ', 'seconds'),
    bytes=sum(sizes),
    state=f'damaged: {damages[0]}' if damages else state,
  )


def _verify(args, store):
  from gpt_jax.tracking import console

  steps = store.steps() if args.step is None else [args.step]
  problems = {}
  for step in steps:
    problem = _verify_step(store, step)
    if problem:
      problems[step] = problem
      print(problem)
    else:
      is_old = store.integrity.predates_digests(step)
      state = 'has no digests (saved by an older version)' if is_old else 'is valid'
      console.make_console().print(f'step {step} {state}', highlight=False)
  if args.json:
    print(json.dumps({str(step): problems.get(step) for step in steps}))
  if problems:
    raise CheckpointError(
      f'{len(problems)} of {len(steps)} steps are damaged: {sorted(problems)}. The next'
      ' start of the run quarantines them and resumes from the newest valid one. Check'
      ' the disk, or restore them from a copy.'
    )
  return 0


def _verify_step(store, step):
  """Returns the problem of a step or None; a bar shows the bytes compared."""
  import threading

  import rich.progress

  from gpt_jax.tracking import console

  store.items(step)  # raises for a step that is not there, naming those that are

  lock, screen = threading.Lock(), console.make_console(stderr=True)
  with rich.progress.Progress(
    rich.progress.TextColumn('step {task.fields[step]}'),
    rich.progress.BarColumn(),
    rich.progress.DownloadColumn(),
    rich.progress.TimeRemainingColumn(),
    console=screen,
    transient=True,
    disable=not screen.is_terminal,
  ) as bar:
    task = bar.add_task('', step=step, total=_bytes(store, step))

    def advance(count):
      with lock:
        bar.advance(task, count)

    return store.integrity.find_damage(step, on_bytes=advance)


def _bytes(store, step):
  from gpt_jax.checkpoints import manifest

  try:
    return manifest.total_bytes(store.directory / str(step))
  except CheckpointError:
    return None  # the digests themselves are damaged: the comparison says so


def _show(args, store):
  step = store.latest_step() if args.step is None else args.step
  if step is None:
    raise CheckpointError(f'{store.directory} holds no finished step.')
  rows = _arrays(store, step, args.statistics)
  statistics = ('mean', 'std') if args.statistics else ()
  shown = [
    (row['array'], row['dtype'], str(row['shape']), f'{row["bytes"]:,}')
    + tuple(f'{row[name]:.4g}' for name in statistics)
    for row in rows
  ]
  columns = ('array', 'type', 'shape', 'bytes', *statistics)
  total = sum(row['bytes'] for row in rows)
  _table(f'step {step}: {len(rows)} arrays, {total:,} bytes', columns, shown)
  if args.json:
    print(json.dumps(_finite(dict(step=step, arrays=rows))))


def _arrays(store, step, with_statistics):
  """Returns a dict for each array of `step`: name, dtype, shape, bytes, statistics."""
  import jax
  import numpy as np

  from gpt_jax.core import pytree

  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  rows = []
  for item in store.items(step):
    abstract = store.abstract(step, item, sharding=here)
    values = {}
    if with_statistics:
      tree = store.restore(step, {item: abstract})[item]
      values = {name: np.asarray(v) for name, v in pytree.named_leaves(tree)}
    for name, leaf in pytree.named_leaves(abstract):
      row = dict(
        array=f'{item}/{name}',
        dtype=np.dtype(leaf.dtype).name,
        shape=list(leaf.shape),
        bytes=math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize,
      )
      if values:
        value = values[name].astype(np.float64)
        row |= dict(mean=float(value.mean()), std=float(value.std()))
      rows.append(row)
  return rows


def _finite(value):
  """Returns `value` with None for NaN and infinity, which JSON does not have."""
  if isinstance(value, dict):
    return {key: _finite(inner) for key, inner in value.items()}
  if isinstance(value, list):
    return [_finite(inner) for inner in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
