"""A page in Markdown for each study, and an index that shows what was reproduced.

A page is made of the runs and the experiment file alone, so that making it again gives
the same bytes; its last line has the digest of the file, by which an old page is found.
"""

import collections
import dataclasses
import datetime
import hashlib
import pathlib
import re
import shutil
import sys

from gpt_jax.plots import figures
from gpt_jax.reports import page_text, table_formats
from gpt_jax.sweeps import costs
from gpt_jax.sweeps.experiment import EVIDENCE, KINDS
from gpt_jax.workdir import files

FIGURES = 'figures'  # a folder beside the pages
MAX_FIGURE_BYTES = 60_000
MAX_NUMBERS = 3  # of a claim, in the index
MARK = re.compile(r'<!-- made from (\S+) sha256:(\w+) -->')


@dataclasses.dataclass(frozen=True)
class IndexLine:
  """A line of the index."""

  report: object  # report.Report
  path: pathlib.Path  # of the page


def write_page(report, folder):
  """Writes the page of a Report and its figures; returns its IndexLine."""
  folder = files.check_writable(folder)
  place = folder / FIGURES / report.name
  if place.exists():
    shutil.rmtree(place)  # a figure may have got another name
  drawn = figures.save_all(report.results, place)
  for one in drawn:
    if one.problem:
      print(f'figure left out: {one.problem}', file=sys.stderr)
  path = folder / f'{report.name}.md'
  files.write_text(path, page(report, [_light(one) for one in drawn], folder))
  return IndexLine(report, path)


def page(report, drawn, folder):
  """Returns the Markdown of a page; `drawn` lie below `folder`."""
  lines = [f'# {escape(report.title)}', '']
  for is_code, text in page_text.paragraphs(report.question):
    lines += [f'```text\n{text}\n```' if is_code else escape(text), '']
  lines += [_status(report), '', '## Claims', '']
  for verdict in report.verdicts:
    lines += _claim(report, verdict)
  for entry in report.earlier:
    lines += [f'Earlier: {escape(page_text.earlier(entry))}', '']
  for one in drawn:
    if one.problem:
      lines += [escape(page_text.left_out(report, one)), '']
      continue
    place = one.svg if one.svg.exists() else one.png
    lines += [f'![{escape(one.alt)}]({place.relative_to(folder).as_posix()})', '']
    lines += [escape(one.caption), ''] if one.caption else []
  lines += ['## Table', '', table_formats.markdown(report.table), *_differences(report)]
  lines += ['## Runs', '', '```sh', *page_text.commands(report), '```', '']
  lines += [f'- {name}: {escape(text)}' for name, text in _facts(report)]
  if report.missing:
    lines.append(f'- Not finished: {len(report.missing)} of {report.num_points} points')
  made_from = f'{page_text.source(report)} sha256:{digest(report.study.path)}'
  return '\n'.join([*lines, '', f'<!-- made from {made_from} -->', ''])


def index(entries, absent=(), failed=()):
  """Returns the Markdown of the index.

  `absent`: experiment files without results; `failed`: those that cannot be reported.
  """
  counts = collections.Counter(
    verdict.verdict for entry in entries for verdict in entry.report.verdicts
  )
  judged = ', '.join(f'{counts[name]} {name}' for name in counts_in_order(counts))
  seconds = sum(entry.report.wall_seconds for entry in entries)
  lines = [
    '# Studies', '',
    'Made by `make studies`, which runs every experiment file at its quick size and'
    ' writes these pages from the runs; not to be edited.',
    '',
    f'{len(entries)} studies, {sum(counts.values())} claims: {judged or "none"}.'
    f' {page_text.duration(seconds)} of work in all.',
    '',
    '| study | claims | numbers | points | minutes | stated | commit |',
    '|---|---|---|--:|--:|--:|---|',
  ]  # fmt: skip
  for entry in entries:
    lines.append(_index_line(entry))
  lines += ['', _legend()]
  for why, paths in (('Without results yet', absent), ('Not reported', failed)):
    if paths:
      names = ', '.join(f'`experiments/{path.name}`' for path in paths)
      lines += ['', f'{why}: {names}.']
  return '\n'.join([*lines, ''])


def stale(folder, experiments):
  """Returns the pages of `folder` whose experiment file has changed, or is gone.

  `experiments`: the folder of experiment files.
  """
  found = []
  for path in sorted(pathlib.Path(folder).glob('*.md')):
    marks = MARK.findall(path.read_text(encoding='utf-8'))
    for name, made_from in marks:
      source = pathlib.Path(experiments) / pathlib.Path(name).name
      if not source.exists() or digest(source) != made_from:
        found.append(path)
  return found


def digest(path):
  """Returns what the page of an experiment file is known by: 16 hex digits."""
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:16]


def escape(text):
  """Returns `text` as Markdown shows it, in one line."""
  parts = ' '.join(str(text).split()).split('`')  # the odd ones are code
  parts[::2] = [re.sub(r'([\\*<>|\[\]])', r'\\\1', part) for part in parts[::2]]
  return '`'.join(parts)


def counts_in_order(counts):
  """Returns the verdicts that occur, the best first."""
  return [name for name in page_text.MARKS if counts[name]]


def _status(report):
  counts = collections.Counter(verdict.verdict for verdict in report.verdicts)
  parts = [
    f'{page_text.MARKS[name]} {counts[name]} {name}' for name in counts_in_order(counts)
  ]
  done = report.num_points - len(report.missing)
  points = f'{done} of {report.num_points} points'
  changed = ''.join(f' {escape(text)}.' for text in report.changed)
  return f'**{" · ".join(parts) or "no claims"}** · {points}.{changed}'


def _claim(report, verdict):
  claim = verdict.claim
  mark = page_text.MARKS[verdict.verdict]
  lines = [
    f'### {mark} {escape(claim.name)}: {verdict.verdict}',
    '',
    escape(claim.text),
    '',
  ]
  if verdict.numbers:
    lines += ['| number | value |', '|---|--:|']
    lines += [
      f'| {escape(name)} | {escape(page_text.number(value))} |'
      for name, value in verdict.numbers.items()
    ]
    lines.append('')
  if verdict.note:
    lines += [escape(verdict.note), '']
  told = (
    f'Judged by: {claim.statistics}. Source: {claim.source}. Evidence:'
    f' {EVIDENCE[claim.evidence]}. Kind: {claim.kind}, {KINDS[claim.kind]}.'
  )
  # Longer than any fence that stands in the rule.
  rule = ['~~~~python', verdict.rule, '~~~~']
  head = f'<details><summary>Rule, {page_text.history(report, verdict)}</summary>'
  return [*lines, escape(told), '', head, '', *rule, '', '</details>', '']


def _differences(report):
  lines = []
  for row, changes in report.differences.items():
    shown = ', '.join(f'`{field}` {old!r} → {new!r}' for field, old, new in changes)
    lines.append(f'- {escape(row)}: {shown or "nothing beside the axes of the sweep"}')
  if not lines:
    return []
  base = escape(report.table.compare_to)
  return [f'Config fields that differ from those of *{base}*:', '', *lines, '']


def _facts(report):
  """Returns the facts of a page: the date is that of the last run."""
  found = dict(page_text.facts(report))
  found.pop('Report of')
  workdirs = [one.point.workdir for one in report.results]
  ends = [end for workdir in workdirs for _, end in costs.intervals(workdir)]
  if ends:
    day = datetime.datetime.fromtimestamp(max(ends), datetime.UTC).date()
    found['Last run'] = day.isoformat()
  return found.items()


def _index_line(entry):
  report = entry.report
  claims, numbers = [], []
  for verdict in report.verdicts:
    claims.append(f'{page_text.MARKS[verdict.verdict]} {escape(verdict.name)}')
    first = [item for item in verdict.numbers.items() if not _is_name(item[1])]
    shown = page_text.numbers(dict(first[:MAX_NUMBERS]))
    numbers.append(escape(shown) or '–')
  size = report.study.experiment.sizes[report.size]
  done = report.num_points - len(report.missing)
  points = f'{done}' if done == report.num_points else f'{done} of {report.num_points}'
  cells = [
    f'[{escape(report.title)}]({entry.path.name})',
    '<br>'.join(claims) or '–',
    '<br>'.join(numbers) or '–',
    points,
    f'{report.wall_seconds / 60:.1f}',
    f'{size.minutes:g}',
    ', '.join(commit[:8] + '+' * commit.endswith('+') for commit in report.commits)
    or '–',
  ]
  return f'| {" | ".join(cells)} |'


def _is_name(value):
  """Returns whether a number of a rule says which point it is of."""
  return isinstance(value, str) and value not in ('inf', '-inf', 'nan')


def _legend():
  marks = ', '.join(f'{mark} {name}' for name, mark in page_text.MARKS.items())
  return (
    f'{marks}. Minutes: in which at least one run was at work, whatever else the'
    ' machine did; stated: what the file says of an idle machine. A commit with +: of'
    ' code with changes that were not committed.'
  )


def _light(drawn):
  """Removes what is too large for the repository, never both; returns `drawn`."""
  if drawn.problem:
    return drawn
  if drawn.svg.stat().st_size > MAX_FIGURE_BYTES:
    drawn.svg.unlink()
  elif drawn.png.stat().st_size > MAX_FIGURE_BYTES:
    drawn.png.unlink()
  return drawn
