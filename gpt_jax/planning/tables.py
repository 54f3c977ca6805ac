"""Plans on the screen: tables of the numbers that `--json` prints."""

import shlex

from gpt_jax.planning import compare
from gpt_jax.planning.memory import GIB
from gpt_jax.tracking import console

SHOWN_ROWS = 20
_WIDTH = 38


def show(plan):
  devices = 'one device' if plan.num_devices == 1 else f'{plan.num_devices} devices'
  title = f'{plan.topology}: {devices}, {plan.device_kind}'
  console.table(
    title,
    ('run', ''),
    [
      ('mesh', mesh_text(plan)),
      ('attention kernel', plan.attention_kernel),
      ('loss, remat', f'{plan.loss}, {plan.remat}'),
      ('parameters', console.number(plan.parameters)),
      ('steps', console.number(plan.steps)),
      ('tokens per step', console.number(plan.tokens_per_step)),
    ],
  )
  if plan.trained.frozen:
    _show_trained(plan.trained)
  rows = [(f'  {name}', gib) for name, gib in plan.memory.gib_by_class.items() if gib]
  console.table('memory of a device', ('class', 'GiB'), rows)
  if plan.memory.largest_buffers:
    _show_buffers(plan.memory)
  print(verdict(plan.memory))
  if plan.time is not None:
    _show_ops(plan.time)
    _show_network(plan.network)
    _show_time(plan)
  cost = plan.compilation
  print(f'compiled in {cost.compile_seconds:.0f} s, {cost.host_gib:.1f} GiB of memory')
  print('not modelled: ' + '; '.join(plan.not_modelled))


def show_search(rows, config, overrides):
  """Prints the Rows of a search, and all flags of a command for the best of them."""
  found = [row for row in rows if row.plan]
  if found:
    cells = [_candidate(i, row) for i, row in enumerate(found[:SHOWN_ROWS], start=1)]
    columns = ('#', 'batch', 'remat', 'mesh', 'loss', 'GiB', 'ms', 'tokens/s', 'MFU')
    console.table('candidates that were compiled', (*columns, 'outcome'), cells)
  reasons = {}
  for row in rows:
    if not row.plan:
      reasons.setdefault((row.outcome, row.reason), []).append(row)
  if reasons:
    console.table(
      'other candidates',
      ('outcome', 'candidates', 'reason'),
      [(o, len(found), reason) for (o, reason), found in reasons.items()],
    )
  if rows and rows[0].outcome == 'fits':
    taken = tuple(rows[0].overrides)
    kept = [
      f'--config.{field}={value}'
      for field, value in overrides.items()
      if not field.startswith(taken)
    ]
    flags = f'{shlex.join([f"--config={config}", *kept])} {rows[0].flags}'
    console.make_console().print(
      f'fastest that fits:\n  {flags}', markup=False, highlight=False, soft_wrap=True
    )
  else:
    print('nothing that was compiled fits; take more devices, or raise --max_compiles')


def show_comparison(first, second, names):
  """Prints two Plans side by side; `names` head their columns."""
  rows = [
    (line, *(_cell(value) for value in values))
    for line, *values in compare.rows(first, second)
  ]
  console.table('side by side', ('metric', *names, 'second / first'), rows)
  for name, plan in zip(names, (first, second), strict=True):
    print(f'{name}: {mesh_text(plan)}; {verdict(plan.memory)}')


def mesh_text(plan):
  long = [f'{axis}={size}' for axis, size in plan.mesh.items() if size > 1]
  return ' '.join(long) or 'one device'


def verdict(memory):
  """Returns whether a step fits a device, as text with numbers."""
  if memory.fits:
    free = memory.hbm_gib - memory.total_gib
    return f'fits: {memory.total_gib:.2f} of {memory.hbm_gib:.2f} GiB, {free:.2f} free'
  short = memory.short_gib
  missing = 'by an unknown amount' if short is None else f'by at least {short:.2f} GiB'
  return (
    f'does not fit: short {missing} a device; lower train.batch_size, raise'
    ' train.grad_accum, set model.remat=full, or take more devices'
  )


def _show_trained(sizes):
  now, whole = sizes.now, sizes.whole
  console.table(
    'what trains, over all devices',
    ('what', 'here', 'with all trained'),
    [
      ('parameters', console.number(now.parameters), console.number(whole.parameters)),
      ('gradients GiB', now.gradients / GIB, whole.gradients / GIB),
      ('optimizer GiB', now.optimizer / GIB, whole.optimizer / GIB),
      ('checkpoint GiB', now.checkpoint / GIB, whole.checkpoint / GIB),
    ],
  )
  more = ''
  if sizes.frozen != sizes.frozen_in_full:
    more = f' ({sizes.frozen_in_full / GIB:.3f} with peft.base_storage=as_is)'
  print(f'frozen: {sizes.frozen / GIB:.3f} GiB{more}')


def _show_buffers(memory):
  console.table(
    'largest buffers: arguments, and what is live at the peak',
    ('GiB', 'array', 'kind', 'what', 'where'),
    [(b.gib, b.type, b.kind, _shortened(b), b.source) for b in memory.largest_buffers],
  )


def _shortened(buffer):
  text = buffer.origin or buffer.instruction
  return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + '...'


def _show_ops(time):
  # Only TPUs' compiler estimates times.
  if any(each.ms for each in time.classes):
    console.table(
      'ops of a device by class',
      ('class', 'ms', 'TFLOPs', 'HBM GiB'),
      [
        (each.kind, each.ms, each.tflops, each.hbm_gib)
        for each in sorted(time.classes, key=lambda each: -each.ms)
      ],
    )
  if time.kernels:
    console.table(
      'attention kernels, by the model',
      ('kernel', 'calls', 'ms'),
      [(each.phase, each.calls, each.ms) for each in time.kernels],
    )


def _show_network(network):
  if not network.collectives:
    return
  columns = ('kind', 'axes', 'group', 'count', 'MiB', 'wire MiB', 'model ms')
  console.table(
    'collectives of a step, for a device',
    (*columns, 'overlaps with, each'),
    [
      (
        each.kind,
        '+'.join(each.axes) or '-',
        str(each.group_size or '-'),
        each.count,
        each.bytes / 2**20,
        each.wire_bytes / 2**20,
        each.model_ms,
        _overlap(each),
      )
      for each in sorted(network.collectives, key=lambda each: -each.wire_bytes)
    ],
  )
  print(f'asynchronous: {network.asynchronous_wire_share or 0:.0%} of the wire bytes')


def _overlap(collective):
  if not collective.asynchronous:
    return 'nothing'
  if collective.overlaps_ms is None:
    return 'an iteration of its loop'
  found = sorted(collective.overlaps_ms.items(), key=lambda item: -item[1])
  parts = [f'{ms / collective.count:.2f} ms {kind}' for kind, ms in found[:2] if ms]
  return ', '.join(parts) or 'nothing'


def _show_time(plan):
  time, network = plan.time, plan.network
  ratio = time.matmul_flops_per_chip / time.analytic_flops_per_chip
  calls = f'{time.kernel_calls} calls, {time.kernel_calls_per_layer:.1f} a layer'
  console.table(
    'a step at best',
    ('metric', 'value'),
    [
      ('matmul TFLOPs a device', console.number(time.matmul_flops_per_chip / 1e12)),
      ('  over 6N + attention', f'{ratio:.3f}'),
      ('compute ms', console.number(time.compute_ms)),
      ('kernel ms', f'{time.kernel_ms:.4f} ({calls})'),
      ('network ms', console.number(network.network_ms)),
      ('  exposed', console.number(network.exposed_network_ms)),
      ('step ms', console.number(time.step_ms_bound)),
      ('MFU', f'{time.mfu_bound:.1%}'),
      ('tokens a second', console.si(time.tokens_per_second_bound)),
      ('tokens a day', console.si(time.tokens_per_day_bound)),
      ('days to the budget', console.number(time.days_bound)),
      ('chip-hours', console.number(time.chip_hours_bound)),
    ],
  )
  if time.unknown_trip_counts:
    print(
      f'warning: the trip counts of {time.unknown_trip_counts} loops could not be read'
      ' and count as 1; FLOPs, cycles and wire bytes are too low'
    )
  if time.without_estimate:
    print(
      f'warning: XLA has no estimate of {time.without_estimate} ops, which count at the'
      " chip's peaks; times are too low"
    )


def _candidate(number, row):
  plan = row.plan
  total, time = plan.memory.total_gib, plan.time
  return (
    str(number),
    str(plan.batch_size),
    plan.remat,
    mesh_text(plan),
    plan.loss,
    f'{total:.2f}' if total else '-',
    f'{time.step_ms_bound:.1f}' if time else '-',
    console.si(time.tokens_per_second_bound) if time else '-',
    f'{time.mfu_bound:.1%}' if time else '-',
    row.outcome if row.outcome == 'fits' else row.reason,
  )


def _cell(value):
  return '-' if value is None else f'{value:,.4g}'
