"""Trains the first steps of a run again and compares losses and gradient norms.

Same config, seed and commit: where the code here is another, the recorded commit is
checked out in a temporary folder, with the recorded uncommitted changes. Packages are
those of today; where they differ, it says so. What was logged is compared: step 1 and
every logging.every_steps. The exit code is 0 when the metrics are equal in every bit,
or within the tolerance of the dtype (docs/runs.md), and 7 when they are not.

examples:
  gpt-jax repro runs/tiny
  gpt-jax repro runs/tiny --steps=200 --workdir=runs/tiny_again
  gpt-jax repro runs/tiny --commit=here --json
"""

import json
import signal
import sys

from gpt_jax.commands import diff_command, flags

NOT_REPRODUCED = 7
SHOWN = 20


def add_arguments(parser):
  parser.add_argument('workdir_of_run', metavar='RUN', help='the folder of a run')
  parser.add_argument(
    '--steps',
    type=int,
    metavar='N',
    help='train so many; default: the first 20 logged ones, or a minute of them',
  )
  parser.add_argument(
    '--commit',
    choices=('checkout', 'here'),
    default='checkout',
    help='the recorded commit, checked out if need be (default), or the code as it is',
  )
  flags.add_workdir(
    parser,
    help='keep the new run in this folder; default: a temporary one',
    required=False,
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.tracking import console
  from gpt_jax.train import reproduce

  # So that the training and the checked-out folder go when this process is ended.
  former = signal.signal(signal.SIGTERM, _leave)
  try:
    found = reproduce.reproduce(
      args.workdir_of_run,
      steps=args.steps,
      commit=args.commit,
      workdir=args.workdir,
      progress=lambda steps: console.progress(steps, 'steps logged'),
    )
  finally:
    signal.signal(signal.SIGTERM, former)
  _show(found, args)
  if args.json:
    print(json.dumps(found.to_dict()))
  return NOT_REPRODUCED if found.verdict == 'not reproduced' else 0


def _leave(number, frame):
  sys.exit(128 + number)


def _show(found, args):
  from gpt_jax.tracking import console

  print(f'code: {found.code.description}')
  if found.differences:
    cells = [
      (field, *map(diff_command.cell, values)) for field, *values in found.differences
    ]
    console.table('another environment', ('field', 'in the log', 'now'), cells)
  else:
    print('packages, devices and mesh: as recorded')
  for note in found.notes:
    print(f'note: {note}')
  if not found.comparison.steps:
    print('no step was logged in both')
    return
  _show_steps(found)
  _show_verdict(found)
  if args.workdir:
    print(f'the new run is in {args.workdir}')


def _show_verdict(found):
  comparison, names = found.comparison, ('in the log', 'now')
  steps, parts_at, beyond_at = (
    comparison.steps, comparison.parts_at, comparison.beyond_at
  )  # fmt: skip
  what = (
    f'{len(comparison.metrics)} metrics at {len(steps)} logged steps, {steps[0]} to'
    f' {steps[-1]}'
  )
  tolerance = f'{comparison.tolerance:g} ({found.run.dtype})'
  if parts_at:
    diff_command.show_parting(parts_at, 'part', names)
    diff_command.show_beyond(comparison, names)
  if found.verdict == 'bitwise':
    print(f'reproduced, equal in every bit: {what}')
  elif found.verdict == 'within tolerance':
    print(
      f'reproduced within {tolerance}, in every bit before step {parts_at[0].step}:'
      f' {what}'
    )
  else:
    print(
      f'not reproduced: equal in every bit before step {parts_at[0].step}, beyond'
      f' {tolerance} from step {beyond_at[0].step} on: {what}'
    )


def _show_steps(found):
  """Prints losses and gradient norms of the log and of now, first and last steps."""
  from gpt_jax.tracking import console

  steps = found.comparison.steps
  if len(steps) > SHOWN:
    steps = (*steps[: SHOWN // 2], *steps[-SHOWN // 2 :])
  rows = []
  for step in steps:
    cells = [str(step)]
    for name in ('train/loss', 'train/grad_norm'):
      pair = [run.metrics[step].get(name) for run in (found.run, found.again)]
      cells += [*map(diff_command.exact, pair), _apart(*pair)]
    rows.append(cells)
  columns = (
    'step',
    'loss in the log',
    'now',
    'apart',
    'norm in the log',
    'now',
    'apart',
  )
  console.table('loss and gradient norm', columns, rows)


def _apart(first, second):
  from gpt_jax.tracking import metrics_diff

  if first == second:
    return '0'
  relative = metrics_diff.Difference(0, '', first, second).relative
  return diff_command.share(relative)
