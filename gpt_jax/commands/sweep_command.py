"""Runs the points of an experiment file that are missing or have failed.

Every point is checked before any starts. The workdirs, runs/NAME/SIZE/POINT, are all
the state: a sweep that was killed goes on with the same command, finished points stay,
and several of these commands share the points of one folder. docs/experiments.md has
more.

examples:
  gpt-jax sweep experiments/entropy_floor.py
  gpt-jax sweep experiments/entropy_floor.py --only=uniform
"""

from gpt_jax.commands import flags, host


def add_arguments(parser):
  parser.add_argument('file', metavar='FILE', help='an experiment file')
  parser.add_argument('--size', default='quick', help='quick (default), paper, ...')
  flags.add_workdir(parser, help='instead of runs', required=False)
  parser.add_argument(
    '--only',
    action='append',
    default=[],
    metavar='ROW',
    help='these rows (or points) alone, by name or pattern, such as "gqa*"; repeatable',
  )
  parser.add_argument(
    '--rerun_changed',
    action='store_true',
    help='points that ran with another config than the file states now run again; their'
    ' old workdirs are moved to a dated folder',
  )


def run(args, overrides):
  host.tune_malloc()
  flags.refuse_overrides(overrides)
  flags.enable_compilation_cache()
  from gpt_jax.core.errors import Interrupted
  from gpt_jax.sweeps import live, points, preflight, runner

  study = points.open_study(args.file, args.size, args.workdir)
  chosen = points.select(study, args.only)
  for note in preflight.require_ready(study, chosen, args.rerun_changed):
    print(note)
  progress = runner.begin(chosen)
  try:
    with live.Display(progress) as show:
      runner.run(progress, runner.InProcess(), show)
  except Interrupted:
    raise runner.interrupted(progress) from None
  return progress.exit_code
