"""Plans on the screen: tables for people, from the Plans that `--json` prints whole."""

from gpt_jax.planning import compare
from gpt_jax.tracking import console

SHOWN_ROWS = 20
_WIDTH = 44


def show(plan):
  """Prints one Plan."""
  title = f'{plan.topology}: {plan.num_devices} devices, {plan.device_kind}'
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
  rows = [(f'  {name}', gib) for name, gib in plan.memory_gib_by_class.items() if gib]
  console.table('memory of a device', ('class', 'GiB'), rows)
  if plan.largest_buffers:
    _show_buffers(plan)
  print(verdict(plan))
  if plan.compute_ms is not None:
    _show_work(plan)
    _show_traffic(plan)
    _show_pace(plan)
  print(f'compiled in {plan.compile_seconds:.0f} s, {plan.host_gib:.1f} GiB of memory')
  print('not modelled: ' + '; '.join(plan.not_modelled))


def show_search(rows, config, overrides):
  """Prints the Rows of a search and the flags of the best.

  Args:
    config, overrides: what was given as --config and as flags; a row goes over them.
  """
  found = [row for row in rows if row.plan]
  if found:
    cells = [_candidate(i, row) for i, row in enumerate(found[:SHOWN_ROWS], start=1)]
    columns = ('#', 'batch', 'remat', 'mesh', 'loss', 'GiB', 'ms', 'tokens/s', 'MFU')
    console.table('candidates that were compiled', (*columns, 'verdict'), cells)
  reasons = {}
  for row in rows:
    if not row.plan:
      reasons.setdefault((row.outcome, row.reason), []).append(row)
  if reasons:
    console.table(
      'the others',
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
    flags = ' '.join([f'--config={config}', *kept, rows[0].flags])
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
  console.table('side by side', ('figure', *names, 'second / first'), rows)
  for name, plan in zip(names, (first, second), strict=True):
    print(f'{name}: {mesh_text(plan)}; {verdict(plan)}')


def mesh_text(plan):
  """Returns the axes of a plan's mesh that are longer than one."""
  long = [f'{axis}={size}' for axis, size in plan.mesh.items() if size > 1]
  return ' '.join(long) or 'one device'


def verdict(plan):
  """Returns whether a plan fits, in words with figures."""
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


def _show_buffers(plan):
  console.table(
    'largest buffers, arguments and what lives at the peak',
    ('GiB', 'array', 'kind', 'what', 'where'),
    [
      (b['gib'], b['type'], b['kind'], _fitted(b), b['source'])
      for b in plan.largest_buffers
    ],
  )


def _fitted(buffer):
  """Returns what a buffer is, short enough for the place to stand beside it."""
  text = buffer['origin'] or buffer['instruction']
  return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + '...'


def _show_work(plan):
  """Prints the classes of operations; time only where the compiler estimates it."""
  if any(each['ms'] for each in plan.classes):
    console.table(
      'work of a device by class',
      ('class', 'ms', 'TFLOPs', 'HBM GiB'),
      [
        (each['kind'], each['ms'], each['tflops'], each['hbm_gib'])
        for each in sorted(plan.classes, key=lambda each: -each['ms'])
      ],
    )
  if plan.kernels:
    console.table(
      'attention kernels, by the model',
      ('kernel', 'calls', 'ms'),
      [(each['phase'], each['calls'], each['ms']) for each in plan.kernels],
    )


def _show_traffic(plan):
  if not plan.collectives:
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
      for each in sorted(plan.collectives, key=lambda each: -each.wire_bytes)
    ],
  )
  print(f'asynchronous: {plan.asynchronous_wire_share or 0:.0%} of the wire bytes')


def _overlap(traffic):
  if not traffic.asynchronous:
    return 'nothing'
  if traffic.overlaps_ms is None:
    return 'a turn of its loop'
  found = sorted(traffic.overlaps_ms.items(), key=lambda item: -item[1])
  parts = [f'{ms / traffic.count:.2f} ms {kind}' for kind, ms in found[:2] if ms]
  return ', '.join(parts) or 'nothing'


def _show_pace(plan):
  ratio = plan.matmul_flops_per_chip / plan.analytic_flops_per_chip
  calls = f'{plan.kernel_calls} calls, {plan.kernel_calls_per_layer:.1f} a layer'
  console.table(
    'a step at best',
    ('figure', 'value'),
    [
      ('matmul TFLOPs a device', console.number(plan.matmul_flops_per_chip / 1e12)),
      ('  over 6N + attention', f'{ratio:.3f}'),
      ('compute ms', console.number(plan.compute_ms)),
      ('kernel ms', f'{plan.kernel_ms:.4f} ({calls})'),
      ('network ms', console.number(plan.network_ms)),
      ('  that nothing hides', console.number(plan.exposed_network_ms)),
      ('step ms', console.number(plan.step_ms_bound)),
      ('MFU', f'{plan.mfu_bound:.1%}'),
      ('tokens a second', console.si(plan.tokens_per_second_bound)),
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


def _candidate(number, row):
  plan = row.plan
  known = plan.step_ms_bound is not None
  return (
    str(number),
    str(plan.batch_size),
    plan.remat,
    mesh_text(plan),
    plan.loss,
    f'{plan.memory_gib_per_chip:.2f}' if plan.memory_gib_per_chip else '-',
    f'{plan.step_ms_bound:.1f}' if known else '-',
    console.si(plan.tokens_per_second_bound) if known else '-',
    f'{plan.mfu_bound:.1%}' if known else '-',
    row.outcome if row.outcome == 'fits' else row.reason,
  )


def _cell(value):
  return '-' if value is None else f'{value:,.4g}'
