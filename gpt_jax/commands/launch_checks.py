"""What is wrong with a command that is to run elsewhere, told before it waits there."""

import math

from gpt_jax import cli
from gpt_jax.core.errors import ConfigError


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
  if nodes > 1 and not hasattr(args, 'num_processes'):
    raise ConfigError(
      f'--nodes={nodes}: {args.command} is a program of one process, which each node'
      ' would run for itself; leave --nodes out.'
    )
  if args.command == 'train' and args.config:
    from gpt_jax.config.files import load_file
    from gpt_jax.program import setup

    config = setup.resolve(load_file(args.config), overrides)
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
