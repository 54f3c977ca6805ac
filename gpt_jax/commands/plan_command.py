"""Compiles a run for devices that need not be here: does it fit, how fast can it be?

The training step of `train` is compiled ahead of time (for TPUs: extra `plan`).
Nothing is allocated, no data is read. Memory and FLOPs are exact; times are bounds by
XLA's estimate of the cycles and simple models of attention kernels and the network.
docs/tpu.md explains each line.

examples:
  gpt-jax plan --config=configs/tiny.py --topology=cpu
  gpt-jax plan --config=configs/gpt2.py:124m --topology=v5e:2x2 \\
      --config.train.batch_size=32 --config.train.grad_accum=1 --figure=roofline.png
  gpt-jax plan --config=configs/gpt2.py:355m --topology=v5e:4x4 --search
  gpt-jax plan --config=configs/gpt3.py:6.7b --topology=v5e:16x16 --compare=v6e:16x16
  gpt-jax plan experiments/entropy_floor.py --topology=v5p:2x2x1
"""

import json

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, StorageError

SINGLE = ('config', 'search', 'compare', 'figure', 'dump_hlo')
"""Flags of a plan for one run."""


def add_arguments(parser):
  parser.add_argument(
    'file',
    nargs='?',
    metavar='FILE',
    help='an experiment file, in place of --config: every point of a size is priced',
  )
  parser.add_argument(
    '--size', metavar='SIZE', help='of the experiment file; default: paper'
  )
  flags.add_config(parser)
  parser.add_argument(
    '--topology',
    metavar='NAME',
    help='v4, v5e, v5p, v6e or tpu7x and a shape, such as v5e:16x16 or v5p:8x8x8;'
    ' 2xv5e:16x16 for two slices; cpu, cpu:8, gpu, gpu:8 for devices of this machine.'
    ' Default, for an experiment file: the machine that it names',
  )
  parser.add_argument(
    '--search',
    nargs='?',
    const='batch,remat,mesh',
    metavar='AXES',
    help='compile candidates for batch, remat and mesh and rank those that fit; AXES:'
    ' comma-separated, of batch, remat, mesh, loss, scan (default: the first three)',
  )
  parser.add_argument(
    '--max_compiles',
    type=int,
    default=8,
    metavar='N',
    help='at most, of --search; default: 8',
  )
  parser.add_argument(
    '--compare',
    metavar='OTHER',
    help='also plan, and compare with, another topology (v6e:4x4), another config'
    ' (configs/gpt3.py:1.3b), or other fields (model.remat=dots,train.batch_size=64)',
  )
  parser.add_argument(
    '--figure',
    type=flags.local_path,
    metavar='FILE.png',
    help='draw a roofline and the time by class there',
  )
  parser.add_argument(
    '--dump_hlo',
    type=flags.local_path,
    metavar='FILE',
    help='write the compiled program there, as text',
  )
  flags.add_json(parser)


def run(args, overrides):
  if args.file is not None:
    _price(args, overrides)
    return
  if args.size:
    raise ConfigError(f'--size={args.size}: it belongs to an experiment file.')
  if args.config is None:
    raise ConfigError(
      '--config is missing; give one, such as configs/tiny.py, or an experiment file.'
    )
  if args.topology is None:
    raise ConfigError('--topology is missing; give one, such as v5e:4x4 or cpu:8.')
  _refuse_together(args)
  from gpt_jax.planning import topologies

  topologies.set_environment(args.topology)
  resolve = _resolver(args.config, overrides)
  config = resolve({})
  topology = topologies.parse(args.topology)
  if args.search:
    result = _search(args, overrides, resolve, topology)
  elif args.compare:
    result = _compare(args, overrides, config, topology)
  else:
    result = _plan(args, config, topology)
  if args.json:
    print(json.dumps(result))


def _price(args, overrides):
  """Prices the points of an experiment file."""
  if mistaken := [flag for flag in SINGLE if getattr(args, flag)]:
    raise ConfigError(
      f'--{mistaken[0]}: it belongs to a plan for --config; {args.file} is an'
      ' experiment file.'
    )
  from gpt_jax.config import files

  if files.is_shipped(args.file):
    raise ConfigError(
      f'{args.file}: a config, no experiment file; did you mean --config={args.file}?'
    )
  flags.refuse_overrides(overrides, args.file)
  from gpt_jax.planning import topologies

  topologies.set_environment(args.topology or '')
  from gpt_jax.execution import price_tables, pricing
  from gpt_jax.sweeps import points
  from gpt_jax.tracking import console

  size = args.size or 'paper'
  study = points.open_study(args.file, size)
  machine = study.experiment.sizes[size].machine
  if args.topology is None and ':' not in machine:
    raise ConfigError(
      f'--topology is missing, and size {size!r} of {args.file} names no topology'
      f' (machine={machine!r}); give one, such as v5p:4x4x4.'
    )
  topology = topologies.parse(args.topology or machine)
  prices = pricing.price(
    study.points,
    topology,
    lambda programs: console.progress(programs, 'programs compiled'),
  )
  price_tables.show(
    f'{study.name}, size {size}, on {topology.name}: {price_tables.devices(prices)}',
    prices,
  )
  if args.json:
    print(json.dumps(dict(study=study.name, size=size) | prices.to_dict()))


def _refuse_together(args):
  """Raises ConfigError for flags that exclude each other or have no effect."""
  if args.search and args.compare:
    raise ConfigError('--search and --compare: give one of them.')
  for flag in ('figure', 'dump_hlo'):
    if getattr(args, flag) and (args.search or args.compare):
      raise ConfigError(f'--{flag}: it belongs to a single plan; leave it out here.')
  if args.max_compiles < 1:
    raise ConfigError(f'--max_compiles={args.max_compiles}: expected at least 1.')


def _resolver(path, overrides):
  """Returns a function: more overrides -> the checked Config of the file at `path`."""
  from gpt_jax.config.files import load_file
  from gpt_jax.program import setup

  values = load_file(path)

  def resolve(more):
    config = setup.resolve(values, overrides | more)
    setup.check_plan(config)
    return config

  return resolve


def _plan(args, config, topology):
  from gpt_jax.planning import plan as plans
  from gpt_jax.planning import roofline, tables

  compiled = plans.compile_plan(config, topology)
  tables.show(compiled.plan)
  if args.dump_hlo and compiled.text:
    _write('dump_hlo', args.dump_hlo, lambda path: _write_text(path, compiled.text))
  if args.figure:
    _write('figure', args.figure, lambda path: roofline.draw(compiled, topology, path))
  return compiled.plan.to_dict()


def _search(args, overrides, resolve, topology):
  from gpt_jax.core.registry import choose
  from gpt_jax.planning import search, tables
  from gpt_jax.tracking import console

  axes = tuple(args.search.split(','))
  for axis in axes:
    choose(search.AXES, axis, '--search')
  rows = search.search(
    resolve,
    topology,
    axes=axes,
    max_compiles=args.max_compiles,
    progress=lambda items, total: console.progress(items, 'compiling', total),
  )
  tables.show_search(rows, args.config, overrides)
  return dict(topology=topology.name, rows=[row.to_dict() for row in rows])


def _compare(args, overrides, config, topology):
  from gpt_jax import planning
  from gpt_jax.config.files import is_config
  from gpt_jax.planning import tables, topologies

  other_config, other_topology = config, topology
  if '=' in args.compare:
    pairs = [part.partition('=') for part in args.compare.split(',')]
    more = {field.removeprefix('--config.'): value for field, _, value in pairs}
    other_config = _resolver(args.config, overrides)(more)
  elif is_config(args.compare):
    other_config = _resolver(args.compare, overrides)({})
  else:
    other_topology = topologies.parse(args.compare)
  first = planning.make_plan(config, topology)
  second = planning.make_plan(other_config, other_topology)
  name = args.config if is_config(args.compare) else topology.name
  tables.show_comparison(first, second, (name, args.compare))
  return dict(first=first.to_dict(), second=second.to_dict())


def _write(flag, path, write):
  try:
    write(path)
  except OSError as error:
    raise StorageError(f'--{flag}={path}: {error}') from error


def _write_text(path, text):
  with open(path, 'w', encoding='utf-8') as file:
    file.write(text)
