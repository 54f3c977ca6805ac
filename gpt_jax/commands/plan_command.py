"""Compiles a run for devices that need not be here: does it fit, how fast can it be?

The training step is the one that `train` would run, compiled ahead of time by the
compiler of the devices (TPUs need the extra `plan`). Nothing is allocated, no data is
read. Memory and FLOPs are exact; times are bounds by XLA's estimate of the cycles and a
simple model of the network. docs/tpu.md explains each line.

examples:
  gpt-jax plan --config=configs/tiny.py --topology=cpu
  gpt-jax plan --config=configs/gpt2.py:124m --topology=v5e:2x2 \\
      --config.train.batch_size=32 --config.train.grad_accum=1
  gpt-jax plan --config=configs/gpt3.py:175b --topology=v5p:8x8x8 --json
"""

import json

from gpt_jax.commands import flags
from gpt_jax.errors import ConfigError, StorageError


def add_arguments(parser):
  flags.add_config(parser)
  parser.add_argument(
    '--topology',
    required=True,
    metavar='NAME',
    help='v4, v5e, v5p, v6e or tpu7x and a shape, such as v5e:16x16 or v5p:8x8x8;'
    ' 2xv5e:16x16 for two slices; cpu or cpu:8',
  )
  parser.add_argument(
    '--dump_hlo', metavar='FILE', help='write the compiled program there, as text'
  )
  flags.add_json(parser)


def run(args, overrides):
  if args.config is None:
    raise ConfigError('--config is missing; give one, such as configs/tiny.py.')
  from gpt_jax import config_door, topologies

  topologies.set_environment()
  from gpt_jax.train import assembly

  values = config_door.load_file(args.config)
  config = config_door.resolve(values, overrides, assembly.TABLES)
  assembly.check_plan(config)
  topology = topologies.parse(args.topology)
  from gpt_jax import planning

  try:
    plan = planning.make_plan(config, topology, dump_hlo=args.dump_hlo)
  except OSError as error:
    raise StorageError(f'--dump_hlo={args.dump_hlo}: {error}') from error
  _show(plan)
  if args.json:
    print(json.dumps(plan.to_dict()))


def _show(plan):
  from gpt_jax.train import console

  title = f'{plan.topology}: {plan.num_devices} devices, {plan.device_kind}'
  mesh = ' '.join(f'{axis}={size}' for axis, size in plan.mesh.items() if size > 1)
  console.table(
    title,
    ('run', ''),
    [
      ('mesh', mesh or 'one device'),
      ('attention kernel', plan.attention_kernel),
      ('parameters', console.number(plan.parameters)),
      ('steps', console.number(plan.steps)),
      ('tokens per step', console.number(plan.tokens_per_step)),
    ],
  )
  rows = [(f'  {name}', gib) for name, gib in plan.memory_gib_by_class.items() if gib]
  console.table('memory of a device', ('class', 'GiB'), rows)
  print(_verdict(plan))
  if plan.compute_ms is not None:
    _show_pace(plan, console)
  print(f'compiled in {plan.compile_seconds:.0f} s, {plan.host_gib:.1f} GiB of memory')
  print('not modelled: ' + '; '.join(plan.not_modelled))


def _verdict(plan):
  if plan.fits:
    free = plan.hbm_gib_per_chip - plan.memory_gib_per_chip
    return (
      f'fits: {plan.memory_gib_per_chip:.2f} of {plan.hbm_gib_per_chip:.2f} GiB,'
      f' {free:.2f} free'
    )
  short = plan.short_gib_per_chip
  missing = 'by an unknown amount' if short is None else f'by at least {short:.2f} GiB'
  return (
    f'does not fit: short {missing} a device; lower train.batch_size, raise'
    ' train.grad_accum, set model.remat=full, or take more devices'
  )


def _show_pace(plan, console):
  if plan.collectives:
    console.table(
      'collectives of a step, for a device',
      ('kind', 'axes', 'group', 'overlaps', 'count', 'MiB', 'wire MiB', 'model ms'),
      [
        (
          each.kind,
          '+'.join(each.axes) or '-',
          str(each.group_size or '-'),
          'yes' if each.asynchronous else 'no',
          each.count,
          each.bytes / 2**20,
          each.wire_bytes / 2**20,
          each.model_ms,
        )
        for each in sorted(plan.collectives, key=lambda each: -each.wire_bytes)
      ],
    )
  ratio = plan.matmul_flops_per_chip / plan.analytic_flops_per_chip
  console.table(
    'a step at best',
    ('figure', 'value'),
    [
      ('matmul TFLOPs a device', console.number(plan.matmul_flops_per_chip / 1e12)),
      ('  over 6N + attention', f'{ratio:.3f}'),
      ('compute ms', console.number(plan.compute_ms)),
      ('kernel ms', f'{plan.kernel_ms:.4f} ({plan.kernel_calls} calls)'),
      ('network ms', console.number(plan.network_ms)),
      ('  that nothing hides', console.number(plan.exposed_network_ms)),
      ('step ms', console.number(plan.step_ms_bound)),
      ('MFU', f'{plan.mfu_bound:.1%}'),
      ('tokens a day', console.si(plan.tokens_per_day_bound)),
      ('days to the budget', console.number(plan.days_bound)),
      ('chip-hours', console.number(plan.chip_hours_bound)),
    ],
  )
  if plan.unknown_trip_counts:
    print(
      f'warning: the turns of {plan.unknown_trip_counts} loops could not be read and'
      ' count once; FLOPs, cycles and traffic are too low'
    )
