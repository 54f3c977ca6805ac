"""What is wrong with a command that is to run elsewhere, told before it waits there."""

import math

from gpt_jax import cli
from gpt_jax.commands import COMMANDS, prepare_command
from gpt_jax.core.errors import ConfigError, UserError

TOGETHER = ('train', 'eval', 'prepare', 'sweep', 'doctor')
"""Commands that several processes make sense for.

train and eval are one program of all of them; of prepare each makes a share, of sweep
each trains points of its own, and doctor says which process each is.
"""


def problems(place, description, args):
  """Returns what is wrong with the command of a Description, a list of texts."""
  words = [*description.command]
  words += description.tasks[0].words if description.tasks else ()
  try:
    processes = place.num_processes(description, args)
    devices = place.num_devices(description, args)
  except UserError:  # `place.problems` has told it
    processes, devices = None, None
  found = several_problems(words, processes or 1, args.where)
  if args.where != 'local':  # there a process says the rest as soon
    try:
      require_runnable(words, description.nodes, devices)
    except UserError as error:
      found.append(str(error))
  return found


def several_problems(command, processes, where):
  """Returns what is wrong with `processes` of a command: [] or one text."""
  name = command[0]
  if processes == 1 or name not in COMMANDS:
    return []
  if name not in TOGETHER:
    way_out = {
      'local': '--processes=1',
      'slurm': '--nodes=1, and no --task_per=gpu',
      'tpu_vm': 'a --topology of one host, such as v5e:2x4',
      'gke': 'no --topology (a pod without TPUs) or one of one host, such as v5e:2x4',
    }[where]
    return [
      f'-- {name}: is a program of one process, and {processes} would each run all of'
      f' it; give {way_out}.'
    ]
  if name == 'sweep' and where in ('tpu_vm', 'gke') and '--join' not in command:
    return [
      f'-- sweep: a host of a slice of several cannot train alone; gpt-jax sweep FILE'
      f' --where={where} trains each point on all {processes}.'
    ]
  shards = [word for word in command if word.startswith('--shard')]
  if name == 'prepare' and shards and '--shard_mb' not in shards[0]:
    return [
      f'{shards[0]}: all {processes} processes of a task would make that share; leave'
      ' out --shards and --shard, and each makes its own, or have one process.'
    ]
  return []


def require_runnable(command, nodes, num_devices=None):
  """Raises UserError where the words after gpt-jax cannot be what is to be run.

  That is for a misspelt command or flag, and for `train` also a config that is wrong or
  whose mesh does not fit.

  Args:
    num_devices: that the command will have on all its nodes; None: unknown.
  """
  words, overrides = cli.split_overrides(command)
  _, args = cli.parse(words)
  if args.command == 'launch':
    raise ConfigError('-- launch: a launcher starts no launcher; give its command.')
  if args.command == 'prepare':
    prepare_command.check(args)
  if args.command in ('train', 'prepare') and args.config:
    from gpt_jax.config.files import load_file
    from gpt_jax.program import setup

    config = setup.resolve(load_file(args.config), overrides)
    if args.command == 'train':
      require_mesh_fits(config, nodes, num_devices)


def require_mesh_fits(config, nodes, num_devices=None):
  """Raises ConfigError where the mesh of a Config does not fill its devices.

  Nor may the rows of a batch, and their tokens, be left over.
  """
  from gpt_jax.parallel.mesh import axis_sizes

  requested = config.parallel.mesh
  if num_devices is not None:
    requested = axis_sizes(requested, num_devices)
  sizes = requested.values()
  # Each node has as many devices as the others.
  if -1 not in sizes and math.prod(sizes) % nodes:
    shown = ', '.join(f'{axis}={size}' for axis, size in requested.items())
    raise ConfigError(
      f'--nodes={nodes}: parallel.mesh has {math.prod(sizes)} devices ({shown}), which'
      f' do not divide over {nodes} nodes; change one of them, or set an axis to -1.'
    )
  if -1 not in sizes:
    _require_batches_fit(config, requested)


def _require_batches_fit(config, sizes):
  """Raises ConfigError where batches do not divide over a mesh of {axis: size}."""
  from jax.sharding import AbstractMesh

  from gpt_jax.core.axes import MESH_AXES
  from gpt_jax.parallel import sharding
  from gpt_jax.program import build, horizon

  mesh = AbstractMesh(tuple(sizes.get(axis, 1) for axis in MESH_AXES), MESH_AXES)
  rules = sharding.make_sharding_rules(config.parallel, mesh)
  length = horizon.make_horizon(config.train, config.data.seq_len)
  build.check_batches(config, length, rules)
