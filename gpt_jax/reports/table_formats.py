"""A table as text: one grid of cells, and from it Markdown, CSV and LaTeX."""

import csv
import dataclasses
import io
import math

from gpt_jax.reports import tables
from gpt_jax.tracking import console

NOTHING = '–'
BEST = 'Each row at its own best:'


@dataclasses.dataclass(frozen=True)
class Grid:
  """A table in words: what is shown of it wherever people read it."""

  headers: tuple[str, ...]
  is_number: tuple[bool, ...]  # of each column: those are right-aligned
  rows: tuple[tuple[str, ...], ...]
  note: str  # what means and tests are over


def grid(table):
  """Returns the Grid of a Table; columns that are the same everywhere are left out."""
  digits = {
    name: tables.digits_of([line.cells[name] for line in table.lines])
    for name in table.headings
  }
  columns = [('row', False, [line.row for line in table.lines])]
  for field in table.axes:
    values = [value_text(line.axes.get(field, NOTHING)) for line in table.lines]
    columns.append((field.rpartition('.')[2], True, values))
  for name in table.headings:
    cells = [summary_text(line.cells[name], digits[name]) for line in table.lines]
    columns.append((name, True, cells))
  if table.is_compared:
    shown = [difference_text(line, digits[table.metric]) for line in table.lines]
    columns.append((f'difference to {table.compare_to}', True, shown))
    columns.append(('p', True, [p_text(line.comparison) for line in table.lines]))
  for name, show in (
    ('parameters', console.si),
    ('flops', console.si),
    ('seconds', console.duration),
  ):
    values = [getattr(line, name) for line in table.lines]
    texts = [NOTHING if value is None else show(value) for value in values]
    columns.append((COST_HEADERS[name], True, texts))
  columns.append(('seeds', True, [line.seeds_text for line in table.lines]))
  return Grid(
    headers=tuple(header for header, _, _ in columns),
    is_number=tuple(is_number for _, is_number, _ in columns),
    rows=tuple(zip(*(cells for _, _, cells in columns), strict=True)),
    note=_note(table),
  )


COST_HEADERS = {'parameters': 'parameters', 'flops': 'FLOPs', 'seconds': 'time'}


def markdown(table):
  """Returns the table in Markdown, its columns aligned, with its note below."""
  shown = grid(table)
  rows = [[cell.replace('|', '\\|') for cell in row] for row in shown.rows]
  headers = [header.replace('|', '\\|') for header in shown.headers]
  widths = [
    max(3, len(header), *(len(row[i]) for row in rows))
    for i, header in enumerate(headers)
  ]
  rules = [
    '-' * (width - 1) + ':' if is_number else '-' * width
    for width, is_number in zip(widths, shown.is_number, strict=True)
  ]
  lines = [
    '| '
    + ' | '.join(
      cell.rjust(width) if is_number else cell.ljust(width)
      for cell, width, is_number in zip(row, widths, shown.is_number, strict=True)
    )
    + ' |'
    for row in (headers, rules, *rows)
  ]
  text = '\n'.join([*lines, '', shown.note, ''])
  return f'{text}\n{BEST}\n\n{markdown(table.best)}' if table.best else text


def comma_separated(table):
  """Returns the table as CSV: plain numbers in full, empty where there is none."""
  header = ['row', *table.axes]
  for name in table.headings:
    header += [name, f'{name} (spread)', f'{name} (seeds)']
  header += ['difference', 'p', 'parameters', 'tokens', 'flops', 'seconds']
  header += ['seeds finished', 'seeds wanted']
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  writer.writerow(header)
  for line in table.lines:
    cells = [line.row, *(line.axes.get(field, '') for field in table.axes)]
    for name in table.headings:
      summary = line.cells[name]
      cells += [_number(summary.mean), _number(summary.spread), len(summary.values)]
    comparison = line.comparison
    cells += [_number(comparison and comparison.difference)]
    cells += [_number(comparison and comparison.p_value)]
    cells += map(_number, (line.parameters, line.tokens, line.flops, line.seconds))
    writer.writerow([*cells, line.num_finished, line.num_wanted])
  return out.getvalue()


def latex(table, caption='', label=''):
  """Returns a LaTeX table; its document needs the package booktabs.

  A second one follows where the table has its best lines.
  """
  shown = grid(table)
  aligned = ''.join('r' if is_number else 'l' for is_number in shown.is_number)
  rows = [' & '.join(map(escape, row)) + r' \\' for row in shown.rows]
  lines = [
    r'\begin{table}',
    r'  \centering',
    *([rf'  \caption{{{escape(caption)}}}'] if caption else []),
    *([rf'  \label{{{label}}}'] if label else []),
    rf'  \begin{{tabular}}{{{aligned}}}',
    r'    \toprule',
    '    ' + ' & '.join(map(escape, shown.headers)) + r' \\',
    r'    \midrule',
    *(f'    {row}' for row in rows),
    r'    \bottomrule',
    r'  \end{tabular}',
    '',
    rf'  \smallskip {escape(shown.note)}',
    r'\end{table}',
  ]
  text = '\n'.join(lines) + '\n'
  if table.best:
    text += '\n' + latex(table.best, f'{caption} {BEST[:-1]}.', f'{label}_best')
  return text


_ESCAPED = str.maketrans(
  {
    '\\': r'\textbackslash{}',
    '{': r'\{',
    '}': r'\}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    '±': r'$\pm$',
    '–': '--',
    '−': '$-$',
  }
  | {char: f'\\{char}' for char in '&%$#_'}
)


def escape(text):
  """Returns `text` as LaTeX shows it."""
  return text.translate(_ESCAPED)


def summary_text(summary, digits):
  """Returns `mean ± spread`, with the number of seeds where some are missing."""
  if not summary.values:
    return NOTHING
  text = _fixed(summary.mean, digits)
  if math.isfinite(summary.spread) and summary.spread > 0:
    text += f' ± {_fixed(summary.spread, digits)}'
  if not summary.is_whole:
    text += f' ({len(summary.values)} of {summary.num_wanted} seeds)'
  return text


def difference_text(line, digits):
  """Returns the signed difference to the base row."""
  if line.comparison is None:
    return NOTHING
  return _fixed(line.comparison.difference, digits, sign='+').replace('-', '−')


def p_text(comparison):
  """Returns the p value of a Comparison, at most to three decimals."""
  if comparison is None or math.isnan(comparison.p_value):
    return NOTHING
  if comparison.p_value < 0.001:
    return '<0.001'
  return f'{comparison.p_value:.2g}'


def value_text(value):
  """Returns an axis value as people write it."""
  if isinstance(value, bool) or not isinstance(value, float):
    return str(value)
  return f'{value:g}'


def _fixed(value, digits, sign=''):
  if not math.isfinite(value):
    return 'diverged'
  return f'{value:{sign},.{digits}f}'


def _number(value):
  """Returns a number for a CSV cell; '' for none."""
  return '' if value is None or math.isnan(value) else value


def _note(table):
  is_one = all(line.num_wanted == 1 for line in table.lines)
  note = 'One seed.' if is_one else 'Mean ± sample standard deviation over seeds.'
  if table.is_compared:
    note += (
      f' Difference in {table.metric} to the row {table.compare_to!r}, p: two-sided'
      ' paired t-test over seeds.'
    )
  return note + (
    ' FLOPs: of all training matmuls. Time: of one run, by the clock, whatever else the'
    ' machine did.'
  )
