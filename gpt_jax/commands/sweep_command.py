"""Runs the points of an experiment file that are missing or have failed.

Every point is checked before any starts. The workdirs, runs/NAME/SIZE/POINT, are all
the state: a killed sweep continues with the same command, finished points stay, and
several of these commands share the points of one folder. A point that fails stops no
other; its output is in POINT/logs/sweep.log. With --where each point is a task of its
own on a cluster (launch/README.md). docs/experiments.md has more.

examples:
  gpt-jax sweep experiments/entropy_floor.py --dry_run
  gpt-jax sweep experiments/entropy_floor.py --jobs=2
  gpt-jax sweep experiments/entropy_floor.py --only=uniform --workdir=/data/runs
  gpt-jax sweep experiments/entropy_floor.py --vectorize=seed
  gpt-jax sweep experiments/mine.py --search=tpe --trials=20
  gpt-jax sweep experiments/entropy_floor.py --where=slurm --at_once=4 --dry_run
"""

import argparse
import os
import sys

from gpt_jax.commands import flags, host, launch_flags, search_flags, train_command
from gpt_jax.core.errors import ConfigError

# Programs of small models compile in less than a second, and many points share them.
CACHE_MIN_SECONDS = 0.1


def add_arguments(parser):
  add_study(parser)
  parser.add_argument(
    '--only',
    action='append',
    default=[],
    metavar='ROW',
    help='these rows (or points) alone, by name or pattern, such as "gqa*"; repeatable',
  )
  parser.add_argument(
    '--jobs',
    type=_positive,
    default=1,
    metavar='N',
    help='points at once, each in a process with its share of the cores; default: 1',
  )
  parser.add_argument(
    '--vectorize',
    type=lambda text: tuple(part for part in text.split(',') if part),
    default=(),
    metavar='FIELDS',
    help='train points that differ in these numbers alone together, as one program,'
    ' such as seed,optimizer.learning_rate; on a CPU each core has its share of the'
    ' runs. docs/runs.md says when it pays',
  )
  parser.add_argument(
    '--dry_run',
    action='store_true',
    help='check and list the points and the time that they may take; run nothing',
  )
  parser.add_argument(
    '--rerun_changed',
    action='store_true',
    help='points that ran with another config than the file states now run again; their'
    ' old workdirs are moved to a dated folder',
  )
  parser.add_argument(
    '--join',
    action='store_true',
    help='the processes of this SLURM step or pod train each point together; without it'
    ' each trains points of its own',
  )
  flags.add_json(parser)
  search_flags.add_arguments(parser)
  launch_flags.add_to_sweep(parser)


def add_study(parser):
  """Adds the arguments of `open_study`, which the commands on experiments share."""
  parser.add_argument('file', metavar='FILE', help='an experiment file')
  parser.add_argument('--size', default='quick', help='quick (default), paper, ...')
  flags.add_workdir(parser, help='instead of runs', required=False)


def _positive(text):
  number = int(text) if text.isdecimal() else 0
  if number < 1:
    raise argparse.ArgumentTypeError(f'expected a whole number above 0, got {text}')
  return number


def run(args, overrides):
  host.tune_malloc()
  flags.refuse_overrides(overrides, args.file)
  if launch_flags.is_elsewhere(args):
    from gpt_jax.commands import launch_sweep

    return launch_sweep.run(args)
  with train_command.exit_on_signals():
    return _sweep(args)


def _sweep(args):
  if search_flags.is_wanted(args):
    _keep_programs()
    return search_flags.run(args)
  from gpt_jax.analysis import checks
  from gpt_jax.core.errors import Interrupted
  from gpt_jax.execution import live, overview, preflight, runner, vectorized_fields
  from gpt_jax.sweeps import points

  if args.join:
    _join(args)
  if args.vectorize:
    _require_alone(args)
    _use_cores_as_devices()
  study = points.open_study(
    args.file, args.size, args.workdir, check=checks.mistakes_of
  )
  chosen = points.select(study, args.only)
  if args.vectorize:
    vectorized_fields.require_vectorizable(chosen, args.vectorize)
  notes = preflight.require_ready(study, chosen, args.rerun_changed, args.dry_run)
  for note in [*study.notes, *notes]:
    print(note)
  if args.dry_run:
    if args.vectorize and not args.json:
      from gpt_jax.execution import vectorized

      print(*vectorized.described_groups(study, chosen, args.vectorize), sep='\n')
    return overview.show(overview.survey(study, chosen), args.json, of_all=True)
  for line in overview.described_duplicates(study):
    print(line)
  progress = runner.begin(chosen)
  try:
    with live.Display(study, progress) as show, _executor(args, study) as executor:
      runner.run(progress, executor, show)
    num = len(progress.done) + len(progress.failed) - progress.num_done_before
    if executor.num_programs:
      print(f'{executor.num_programs} programs compiled for {num} points')
  except Interrupted:
    raise runner.interrupted(progress) from None
  finally:
    _show_end(study, chosen, progress, args.json)
  return progress.exit_code


def _show_end(study, chosen, progress, as_json):
  from gpt_jax.execution import overview

  new, before = progress.num_done_here, progress.num_done_before
  others = len(progress.done) - before - new
  elsewhere = f'{others} in other processes; ' if others else ''
  print(f'{new} points have run here; {elsewhere}{before} were done before')
  for name, needed in progress.blocked().items():
    print(f'not run: {name}, which needs {needed}')
  overview.show(overview.survey(study, chosen), as_json)


def _join(args):
  """Makes this process one of several that train each point."""
  if args.vectorize or args.jobs > 1:
    raise ConfigError(
      '--join: the processes train one point after the other; leave out --vectorize and'
      ' --jobs.'
    )
  from gpt_jax.parallel import multihost

  multihost.initialize()


def _require_alone(args):
  if args.jobs > 1:
    raise ConfigError(
      f'--jobs={args.jobs}: --vectorize trains points at once in one process, on all'
      ' devices or cores; leave one of the two out.'
    )


def _use_cores_as_devices():
  """Makes each CPU core a device, for a share of the runs of --vectorize."""
  import jax

  jax.config.update('jax_num_cpu_devices', len(os.sched_getaffinity(0)))


def _executor(args, study):
  from gpt_jax.execution import jobs as worker_jobs
  from gpt_jax.execution import runner, vectorized

  jobs = args.jobs
  if jobs == 1:
    _keep_programs()
    if args.vectorize:
      return vectorized.Vectorized(study.points, args.vectorize)
    return runner.InProcess(study.points)
  shares = worker_jobs.shares_of_cores(jobs)
  chosen = os.environ.get('JAX_PLATFORMS', '')
  if (found := host.accelerator()) and not chosen.startswith('cpu'):
    raise ConfigError(
      f'--jobs={jobs}: the points would have to share {found[1]}, which belongs to one'
      ' process; leave --jobs out, or start several sweeps of this folder, each with'
      ' devices of its own.'
    )

  def command(number):
    program = (
      f'from gpt_jax.commands import sweep_command as s; s.work({shares[number]})'
    )
    # The command line of the sweep goes into run.json of each point.
    return [sys.executable, '-c', program, *sys.argv[1:]]

  return worker_jobs.Workers(jobs, command, study.points)


def work(cores):
  """Serves as a worker process of a sweep with --jobs."""
  host.tune_malloc()
  _keep_programs()
  from gpt_jax.execution import worker

  worker.main(cores)


def _keep_programs():
  flags.enable_compilation_cache(CACHE_MIN_SECONDS)
