"""Shows in what two runs differ, and the first step at which their metrics part.

Config, code, versions, machine, mesh, data and tokenizer, starts and events, metrics at
the steps that both have logged, final metrics side by side. Runs may be in progress, of
an earlier version, or have lost files. The exit code is 0 whether or not they differ.

examples:
  gpt-jax diff runs/one runs/two
  gpt-jax diff runs/one runs/two --patch
  gpt-jax diff runs/one runs/two --tolerance=1e-3 --json
"""

import json

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError

MAX_CELL = 44
MAX_ROWS = 12


def add_arguments(parser):
  parser.add_argument('first', metavar='RUN', help='the folder of a run')
  parser.add_argument('second', metavar='RUN', help='and of another')
  parser.add_argument(
    '--patch', action='store_true', help='show the uncommitted changes, line by line'
  )
  parser.add_argument(
    '--tolerance',
    type=float,
    metavar='SHARE',
    help='by how much losses may differ, as a share of them, and norms of gradients 20'
    ' times as much; default: 1e-5 in float32, 3e-4 in float16, 1e-3 in bfloat16',
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  if args.tolerance is not None and not 0 <= args.tolerance < 1:
    raise ConfigError(
      f'--tolerance={args.tolerance}: expected a share, from 0 below 1.'
    )
  from gpt_jax.train import run_diff

  runs = run_diff.read(args.first), run_diff.read(args.second)
  found = run_diff.compare(*runs, args.tolerance)
  names = _names(runs)
  _show_runs(found.runs, names)
  for section, rows in found.sections.items():
    _show_rows(section, names, rows)
  _show_code(found.code, names, args.patch)
  _show_history(found.runs, names)
  _show_metrics(found.metrics, names)
  _show_finals(found.finals, names)
  if args.json:
    print(json.dumps(found.to_dict()))


def _names(runs):
  """Returns short names of two runs that differ."""
  names = [run.workdir.path.name for run in runs]
  return names if names[0] != names[1] else [str(run.workdir) for run in runs]


def _show_runs(runs, names):
  for run, name in zip(runs, names, strict=True):
    state = f'in progress ({run.writer})' if run.writer else 'not in progress'
    total = ((run.config or {}).get('train') or {}).get('steps')
    of_total = f' of {total}' if total else ''
    print(f'{name}: {run.workdir}: step {run.last_step}{of_total}, {state}')
    for file, why in run.missing.items():
      print(f'  {file}: {why}; what it would say is left out')


def _show_rows(section, names, rows):
  from gpt_jax.tracking import console

  if rows is None:
    print(f'{section}: not compared, one run has not recorded it')
  elif not rows:
    print(f'{section}: the same')
  else:
    cells = [(field, *map(cell, values)) for field, *values in rows]
    title = f'{section}: {len(rows)} differ{"s" if len(rows) == 1 else ""}'
    console.table(title, ('field', *names), cells)


def cell(value):
  """Returns a value as text that is short enough for a table."""
  text = value if isinstance(value, str) else json.dumps(value)
  return text if len(text) <= MAX_CELL else text[: MAX_CELL - 3] + '...'


def _show_code(code, names, with_patch):
  states = code['first'], code['second']
  if code['same']:
    print(f'code: the same, {_code(states[0])}')
  elif code['same'] is None:
    silent = ' and '.join(n for n, s in zip(names, states, strict=True) if s is None)
    print(f'code: not compared, {silent} has recorded no commit')
  else:
    print('code: differs')
    for name, state in zip(names, states, strict=True):
      print(f'  {name}: {_code(state)}')
  if code['commits_apart']:
    print('  commits that only one has: {} and {}'.format(*code['commits_apart']))
    for line in _files(code['files_apart']):
      print(f'    {line}')
  if with_patch:
    for name, state in zip(names, states, strict=True):
      if state and state['patch']:
        print(f'uncommitted changes of {name}:\n{state["patch"]}')


def _code(state):
  clean = '' if state['dirty'] else ', nothing uncommitted'
  text = f'commit {state["commit"][:10]}{clean}'
  if state['files']:
    text += '; changed since: ' + ', '.join(_files(state['files']))
  if state['untracked']:
    more = len(state['untracked']) - MAX_ROWS
    listed = ', '.join(state['untracked'][:MAX_ROWS])
    text += f'; not in git: {listed}' + (f' and {more} more' if more > 0 else '')
  return text


def _files(files):
  lines = [f'{file} +{added} -{gone}' for file, (added, gone) in files.items()]
  more = len(lines) - MAX_ROWS
  return lines[:MAX_ROWS] + ([f'and {more} more files'] if more > 0 else [])


def _show_history(runs, names):
  from gpt_jax.tracking import console
  from gpt_jax.train import run_diff

  rows = [
    (
      name,
      str(start.get('step', 0)),
      str(start.get('time', '-'))[:19],
      run_diff.code_name(start.get('git')),
      start.get('hostname', '-'),
      _devices(start.get('devices')),
    )
    for run, name in zip(runs, names, strict=True)
    for start in run.starts
  ]
  console.table('starts', ('run', 'step', 'time', 'code', 'host', 'devices'), rows)
  changed = [
    (name, str(step), field, cell(old), cell(new))
    for run, name in zip(runs, names, strict=True)
    for step, field, old, new in run_diff.changed_between_starts(run)
  ]
  if changed:
    columns = ('run', 'step', 'field', 'before', 'from then on')
    console.table('what changed between the starts of a run', columns, changed)
  events = [
    (name, str(event.get('step', '-')), event.get('kind', '-'), _event(event))
    for run, name in zip(runs, names, strict=True)
    for event in run.events
  ]
  if events:
    shown = events[: 2 * MAX_ROWS]
    console.table(f'events: {len(events)}', ('run', 'step', 'kind', 'what'), shown)
  else:
    print('events: none in either')


def _devices(devices):
  return f'{devices["count"]} {devices["kind"]}' if devices else '-'


def _event(event):
  rest = {k: v for k, v in event.items() if k not in ('step', 'kind')}
  text = ', '.join(f'{name}={json.dumps(value)}' for name, value in rest.items())
  return text if len(text) <= 2 * MAX_CELL else text[: 2 * MAX_CELL - 3] + '...'


def _show_metrics(found, names):
  if not found.steps:
    print('metrics: no step that both have logged')
    return
  first, last = found.steps[0], found.steps[-1]
  print(
    f'metrics: {len(found.metrics)} compared at {len(found.steps)} steps that both have'
    f' logged, {first} to {last}'
  )
  if found.is_bitwise:
    print('  the same in every bit')
    return
  show_parting(found.parts_at, 'part', names)
  show_beyond(found, names)


def show_beyond(found, names):
  """Prints where losses leave the tolerance of a Comparison that is not bitwise."""
  if not found.beyond_at:
    print(f'losses stay within {found.tolerance:g} of each other')
  elif found.beyond_at[0].step == found.parts_at[0].step:
    print(f'losses are further apart than {found.tolerance:g} from that step on')
  else:
    show_parting(found.beyond_at, f'are beyond {found.tolerance:g}', names)


def show_parting(differences, how, names):
  """Prints the metrics that differ at a step, the losses first."""
  from gpt_jax.tracking import console, metrics_diff

  ordered = sorted(
    differences, key=lambda each: metrics_diff.tolerance_of(each.metric, 1) is None
  )
  # A title would be broken where the table is narrow.
  print(f'the first step at which they {how}: {ordered[0].step}')
  console.table(
    None,
    ('metric', *names, 'apart by'),
    [
      (each.metric, exact(each.first), exact(each.second), share(each.relative))
      for each in ordered[:MAX_ROWS]
    ],
  )


def exact(value):
  """Returns a number as it was logged, up to ten digits."""
  return '-' if value is None else f'{value:.10g}'


def share(relative):
  """Returns a relative difference as text."""
  return f'{relative:.1e}'


def _show_finals(finals, names):
  from gpt_jax.tracking import console

  rows = [
    (name, exact(first), exact(second), _change(first, second))
    for name, first, second in finals
  ]
  if rows:
    columns = ('metric', *names, 'second - first')
    console.table('the last metrics of each', columns, rows)


def _change(first, second):
  if None in (first, second):
    return '-'
  return 'the same' if first == second else f'{second - first:+.4g}'
