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
"""

from gpt_jax.commands import launch_flags
from gpt_jax.core.errors import ConfigError
from gpt_jax.workdir import files


def add_arguments(parser):
  launch_flags.add_arguments(parser)
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
  place, description = launch_flags.describe(args, command)
  if args.where != 'local':
    from gpt_jax.commands import launch_checks

    devices = place.num_devices(description, args)
    launch_checks.require_runnable(command, description.nodes, devices)
  if args.dry_run:
    print(place.dry_run(description, args))
    return 0
  workdir = description.workdir
  if place.HAS_OUR_FOLDERS and workdir and command[0] == 'train':
    _require_free(workdir)
  return place.launch(description, args)


def _require_free(workdir):
  """Raises StorageError where no run can start in `workdir`, before a log is there."""
  from gpt_jax.workdir import lock
  from gpt_jax.workdir.paths import Workdir

  files.check_writable_early(workdir)
  Workdir(workdir).require_run_or_empty()
  lock.require_unlocked(workdir)
