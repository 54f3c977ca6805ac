"""The prices of a study on the screen: point by point, or program by program."""

from gpt_jax.tracking import console

SHOWN_POINTS = 24  # more are shown by program
_NAMES_WIDTH = 60


def show(title, prices):
  """Prints what each point takes, what cannot run and why, and the totals."""
  priced = [each for each in prices.points if not each.reason]
  if len(priced) > SHOWN_POINTS:
    rows = [
      _row(_label(group), group, prices)
      for program in range(len(prices.plans))
      if (group := [each for each in priced if each.program == program])
    ]
  else:
    rows = [_row(each.name, [each], prices) for each in priced]
  # Of a CPU the peak is a guess, and nobody counts its chips.
  costs = ('MFU', 'steps', 'chip-hours') if prices.is_on_accelerators else ('steps',)
  columns = ('points', 'program', 'parameters', 'GiB', 'of', 'step ms', *costs)
  if rows:
    # Names are not cut: they are what --only and folders are called.
    cells = zip(columns, *rows, strict=True)
    width = sum(max(map(len, column)) + 3 for column in cells) + 3
    wide = console.make_console(width=max(width, len(title) + 3))
    console.table(title, columns, rows, console=wide)
  _show_left_out(prices)
  print(_total(prices))
  made = [plan for plan in prices.plans if plan]
  if made:
    print('bounds: no run is faster. Not modelled: ' + '; '.join(made[0].not_modelled))


def _row(label, group, prices):
  plan = prices.plans[group[0].program]
  ends = sorted({each.steps for each in group})
  steps = ' to '.join(
    f'{n:,}' for n in (ends if len(ends) < 2 else (ends[0], ends[-1]))
  )
  costs = (steps,)
  if prices.is_on_accelerators:
    spent = hours(sum(each.chip_hours for each in group))
    costs = (f'{plan.time.mfu_bound:.1%}', steps, spent)
  return (
    label,
    str(group[0].program + 1),
    console.number(plan.parameters),
    f'{plan.memory.total_gib:.2f}',
    f'{plan.memory.hbm_gib:.2f}',
    f'{group[0].step_ms:,.3f}',
    *costs,
  )


def _label(group):
  return f'{len(group)} of {_shortened(dict.fromkeys(each.row for each in group))}'


def _shortened(names):
  text = ', '.join(names)
  return text if len(text) <= _NAMES_WIDTH else text[: _NAMES_WIDTH - 3] + '...'


def _show_left_out(prices):
  reasons = {}
  for each in prices.left_out:
    reasons.setdefault(each.reason, []).append(each.name)
  for reason, names in reasons.items():
    print(f'cannot run there: {len(names)} point(s), {_shortened(names)}:\n  {reason}')


def _total(prices):
  count = len(prices.points) - len(prices.left_out)
  seconds = sum(plan.compilation.compile_seconds for plan in prices.plans if plan)
  spent = f'{duration(prices.hours)} on {devices(prices)} one after the other'
  if prices.is_on_accelerators:
    spent = f'{hours(prices.chip_hours)} chip-hours at best for {count} points, {spent}'
  else:
    spent = f'at best {spent}, for {count} points'
  text = (
    f'total: {spent};'
    f' {len(prices.plans)} programs for {len(prices.points)} points, compiled in'
    f' {seconds:.0f} s'
  )
  if prices.left_out:
    text += f'; left out: {len(prices.left_out)} points that cannot run there'
  return text


def devices(prices):
  """Returns how many of what the topology has."""
  if prices.is_on_accelerators:
    return f'{prices.num_chips} chip{"s" * (prices.num_chips != 1)}'
  return f'{prices.num_chips} CPU device{"s" * (prices.num_chips != 1)}'


def hours(value):
  """Returns chip-hours in three digits, more above a thousand."""
  return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'


def duration(value):
  """Returns hours as days, hours or minutes."""
  if value >= 48:
    return f'{value / 24:,.1f} days'
  return f'{value:.1f} h' if value >= 1 else f'{60 * value:.1f} min'
