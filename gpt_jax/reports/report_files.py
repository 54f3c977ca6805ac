"""A report on the terminal and as files: Markdown, CSV, LaTeX, JSON, HTML, figures."""

import collections
import math
import pathlib
import sys

import rich.padding
import rich.text

from gpt_jax.analysis import verdicts
from gpt_jax.plots import figures
from gpt_jax.reports import page, page_text, table_formats
from gpt_jax.storage import mirror
from gpt_jax.tracking import console
from gpt_jax.workdir import files

FOLDER = 'report'
PAGE = 'report.html'  # has all of it, figures too
JSON = 'report.json'
MAX_LISTED = 30  # points that are not finished
STYLES = {
  verdicts.REPRODUCED: 'bold green',
  verdicts.NOT_REPRODUCED: 'bold red',
  verdicts.NOT_ENOUGH_DATA: 'yellow',
  verdicts.REPORTED: 'bold',
}


def show(report):
  """Prints table, verdicts, and what is missing."""
  print(f'{report.title}\n')
  print(table_formats.markdown(report.table))
  for line in difference_lines(report, most=6):
    print(line)
  out = console.make_console(highlight=False)
  for verdict in report.verdicts:
    head = rich.text.Text.assemble(
      (f'{verdict.verdict}: ', STYLES[verdict.verdict]), (verdict.name, 'bold')
    )
    out.print(head)
    for line in verdict_lines(verdict):
      out.print(rich.padding.Padding(rich.text.Text(line), (0, 0, 0, 2), expand=False))
  for entry in report.earlier:
    out.print(rich.text.Text(f'earlier: {page_text.earlier(entry)}'))
  out.print(rich.text.Text(progress_text(report)))


def write(report, folder=None):
  """Writes all files of a report; returns their folder.

  `folder`: instead of `report` in the folder of the runs. A figure that fails is told
  and noted in its place. Raises StorageError.
  """
  folder = files.check_writable(folder or report.study.folder / FOLDER)
  with mirror.written(folder) as here:
    drawn = _write(report, here)
  for one in drawn:
    for end in ('svg', 'png') if one.problem else ():  # of an earlier report
      (folder / f'{one.name}.{end}').unlink(missing_ok=True)
  return folder


def _write(report, folder):
  """Returns what was drawn, once all files are in the local `folder`."""
  drawn = figures.save_all(report.results, folder)
  for one in drawn:
    if one.problem:
      print(f'figure left out: {one.problem}', file=sys.stderr)
  for name, text in (
    ('report.md', markdown(report, drawn)),
    ('table.csv', table_formats.comma_separated(report.table)),
    ('table.tex', table_formats.latex(report.table, report.title, report.name)),
  ):
    files.write_text(folder / name, text)
  files.write_json(folder / JSON, as_json(report, drawn))
  page.save(report, drawn, folder / PAGE)
  return drawn


def difference_lines(report, most=None):
  """Returns for each row but the base in what its config differs, a line each."""
  lines = []
  for row, changes in report.differences.items():
    told = [f'{field} {old!r} -> {new!r}' for field, old, new in changes]
    if most and len(told) > most:
      told[most - 1 :] = [f'and {len(told) - most + 1} more']
    lines.append(f'{row}: {", ".join(told) or "nothing beside the axes of the sweep"}')
  return lines


def verdict_lines(verdict):
  """Returns what a verdict rests on: claim, numbers, statistics, source."""
  claim = verdict.claim
  lines = [claim.text]
  if verdict.numbers:
    lines.append(page_text.numbers(verdict.numbers))
  if verdict.note:
    lines.append(verdict.note)
  number = len(verdict.points)
  lines.append(f'{verdict.statistics}; {number} point{"s" * (number != 1)}')
  version = f', version {claim.version}' if claim.version > 1 else ''
  lines.append(f'{claim.kind}, evidence {claim.evidence}{version}; {claim.source}')
  return lines


def progress_text(report):
  """Returns how many points are done, when, where and by which code."""
  done = report.num_points - len(report.missing)
  kinds = collections.Counter(state.kind for state in report.states.values())
  rest = ', '.join(f'{number} {kind}' for kind, number in kinds.items())
  parts = [f'{done} of {report.num_points} points finished' + f' ({rest})' * bool(rest)]
  parts += report.changed
  if report.diverged:
    parts.append(f'diverged: {", ".join(report.diverged)}')
  if report.wall_seconds:
    parts.append(f'{console.duration(report.wall_seconds)} of wall time')
  parts += report.ran_on
  if report.commits:
    parts.append(f'commit {", ".join(report.commits)}')
  return '; '.join(parts)


def markdown(report, drawn):
  """Returns the whole report in Markdown; `drawn` are its figures."""
  lines = [f'# {report.title}', '', report.question, '', '## Claims', '']
  for verdict in report.verdicts:
    lines += [f'- **{verdict.verdict}**: *{verdict.name}*', '']
    lines += [f'  {line}\n' for line in verdict_lines(verdict)]
  lines += [f'- earlier: {page_text.earlier(entry)}' for entry in report.earlier]
  lines += ['', '## Table', '', table_formats.markdown(report.table)]
  for one in drawn:
    picture = f'![{one.title}]({one.name}.png)'
    lines += [page_text.left_out(report, one) if one.problem else picture, '']
  if report.differences:
    lines += ['## Config', '', f'Beside the row {report.table.compare_to!r}:', '']
    lines += [f'- {line}' for line in difference_lines(report)]
  lines += ['', '## Runs', '', progress_text(report) + '.', '']
  if report.missing:
    told = [f'- {name}: {_state_text(state)}' for name, state in report.states.items()]
    more = [f'- and {len(told) - MAX_LISTED} more'] if len(told) > MAX_LISTED else []
    lines += ['Not finished:', '', *told[:MAX_LISTED], *more, '']
  lines += [f'`gpt-jax sweep {report.file} --size={report.size}`', '']
  return '\n'.join(lines)


def as_json(report, drawn):
  """Returns the report as JSON values; None for what is not finite."""
  return _plain(
    {
      'name': report.name,
      'size': report.size,
      'title': report.title,
      'file': report.file,
      'date': report.date,
      'machine': report.machine,
      'ran_on': report.ran_on,
      'commits': report.commits,
      'wall_seconds': report.wall_seconds,
      'points': report.num_points,
      'missing': {name: state.kind for name, state in report.states.items()},
      'diverged': report.diverged,
      'metric': report.table.metric,
      'compare_to': report.table.compare_to,
      'table': [_line_json(line) for line in report.table.lines],
      'best': [_line_json(line) for line in getattr(report.table.best, 'lines', ())],
      'verdicts': [_verdict_json(verdict) for verdict in report.verdicts],
      'earlier_verdicts': [dict(entry) for entry in report.earlier],
      'differences': {
        row: {field: [old, new] for field, old, new in changes}
        for row, changes in report.differences.items()
      },
      'figures': [one.name for one in drawn if not one.problem],
      'figures_left_out': {one.name: one.problem for one in drawn if one.problem},
    }
  )


def _state_text(state):
  """Returns how far a point is, with the reason or the fields that have changed."""
  why = state.why or ', '.join(
    f'{field} {old!r} -> {new!r}' for field, old, new in state.changes
  )
  return f'{state.kind} ({why})' if why else state.kind


def _line_json(line):
  comparison = line.comparison
  return {
    'row': line.row,
    'axes': line.axes,
    'metrics': {
      name: {'mean': cell.mean, 'spread': cell.spread, 'seeds': cell.values}
      for name, cell in line.cells.items()
    },
    'difference': comparison and comparison.difference,
    'p_value': comparison and comparison.p_value,
    'finished': line.num_finished,
    'wanted': line.num_wanted,
    'parameters': line.parameters,
    'tokens': line.tokens,
    'flops': line.flops,
    'seconds': line.seconds,
  }


def _verdict_json(verdict):
  claim = verdict.claim
  return {
    'claim': claim.name,
    'text': claim.text,
    'kind': claim.kind,
    'evidence': claim.evidence,
    'source': claim.source,
    'statistics': verdict.statistics,
    'version': claim.version,
    'verdict': verdict.verdict,
    'numbers': verdict.numbers,
    'note': verdict.note,
    'points': verdict.points,
    'missing': verdict.missing,
  }


def _plain(value):
  if isinstance(value, dict):
    return {str(name): _plain(one) for name, one in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(one) for one in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  if isinstance(value, pathlib.PurePath):
    return str(value)
  return value
