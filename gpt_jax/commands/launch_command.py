"""Starts a gpt-jax command here as several processes, or on a cluster.

What stands after `--` is the gpt-jax command that each process runs. --where says the
place; --dry_run prints exactly what would be executed there. launch/README.md goes from
nothing to a run for each place.

On this machine process 0 has this terminal; the others write to
WORKDIR/logs/process_N.log, or here with a prefix where the command has no --workdir.
SIGINT and SIGTERM go to all processes, which save and end with 75. When one fails, the
others are stopped, the end of its log is shown, and its exit code becomes the
launcher's (128 + the signal if it was killed).

With --supervise all processes are started again when one crashes, is killed, is
preempted (75) or hangs. Mistakes of the user (2 to 6), Ctrl-C and SIGTERM end the run.
docs/reliability.md says what that promises.

examples:
  gpt-jax launch --processes=2 -- train --config=configs/tiny.py --workdir=runs/two
  gpt-jax launch --processes=2 --devices_per_process=4 -- \\
      train --config=configs/tiny.py --workdir=runs/eight_devices
  gpt-jax launch --processes=2 --supervise -- \\
      train --config=configs/tiny.py --workdir=runs/supervised
  gpt-jax launch --where=slurm --nodes=2 --dry_run -- \\
      train --config=configs/tiny.py --workdir=runs/two_nodes
  gpt-jax launch --where=tpu_vm --topology=v5e:4x4 --zone=us-west4-a --spot --wait -- \\
      train --config=configs/tiny.py --workdir=gs://my-bucket/runs/tiny
  gpt-jax launch --where=gke --topology=2xv5e:4x4 --image=IMAGE --queue=QUEUE -- \\
      train --config=configs/tiny.py --workdir=gs://my-bucket/runs/tiny
  gpt-jax launch --where=slurm --shards=8 --dry_run -- \\
      prepare --config=configs/tiny.py --out=corpora/docs
"""

from gpt_jax.commands import launch_flags
from gpt_jax.core.errors import ConfigError
from gpt_jax.launchers.description import Task, flag_of, number_above_0
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files


def add_arguments(parser):
  launch_flags.add_arguments(parser)
  launch_flags.add_at_once(parser)
  parser.add_argument(
    '--shards',
    type=number_above_0,
    metavar='N',
    help='N tasks on a cluster, each with --shard=I/N added, such as those of prepare',
  )
  parser.add_argument(
    '--dry_run', action='store_true', help='print what would be executed; start nothing'
  )


def run(args, overrides):
  command = args.command_line
  if not command or overrides:
    raise ConfigError(
      'the command to run stands after --, with all its flags: gpt-jax launch'
      ' --processes=2 -- train --config=... --workdir=...'
    )
  from gpt_jax.commands import launch_checks

  def check(place, found):
    return [*_shard_problems(args), *launch_checks.problems(place, found, args)]

  place, description = launch_flags.describe(
    args, command, tasks=_shards(args), check=check
  )
  if args.dry_run:
    print(place.dry_run(description, args))
    return 0
  _require_writable(place, description)
  return place.launch(description, args)


def _shard_problems(args):
  wanted = {'--shards': args.shards, '--at_once': args.at_once}
  given = [flag for flag, value in wanted.items() if value]
  if given and args.where == 'local':
    return [f'{given[0]}: of tasks on a cluster; add --where=PLACE.']
  if args.at_once and args.shards is None:
    return [f'--at_once={args.at_once}: of how many? Add --shards=N.']
  return []


def _shards(args):
  """Returns a Task for each share of the work, () where it is not shared."""
  num = int(args.shards or 0)
  return tuple(Task(f'shard-{i}', (f'--shard={i}/{num}',)) for i in range(1, num + 1))


def _require_writable(place, description):
  """Raises StorageError where the command could not write what it makes."""
  # Before machines are asked for, and paid.
  command = description.command
  out = flag_of(command, '--out') if command[0] == 'prepare' else None
  workdir = description.workdir if command[0] == 'train' else None
  if is_remote(out or workdir or ''):
    files.check_writable(out or workdir)
  elif out and place.HAS_OUR_FOLDERS:
    files.check_writable_early(out)
  if workdir and place.HAS_OUR_FOLDERS:
    _require_free(workdir)


def _require_free(workdir):
  """Raises StorageError where no run can start in `workdir`, before a log is there."""
  from gpt_jax.workdir import lock
  from gpt_jax.workdir.paths import Workdir

  files.check_writable_early(workdir)
  Workdir(workdir).require_run_or_empty()
  lock.require_unlocked(workdir)
