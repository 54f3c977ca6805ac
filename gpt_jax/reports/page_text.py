"""A report in words, as the HTML page and the page in docs/studies show it."""

import textwrap

from gpt_jax.analysis import verdict_log, verdicts
from gpt_jax.plots import series
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir

MARKS = {
  verdicts.REPRODUCED: '✓',
  verdicts.NOT_REPRODUCED: '✗',
  verdicts.NOT_ENOUGH_DATA: '…',
  verdicts.REPORTED: '•',
}
NONE = 'none yet: no point has finished'


def duration(seconds):
  """Returns `12 s`, `3.4 min` or `2.1 h`."""
  if seconds < 100:
    return f'{seconds:.0f} s'
  return f'{seconds / 60:.1f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


def number(value):
  """Returns a JSON value that a rule reports as it stands on a page."""
  if value is None or isinstance(value, bool):
    return {None: '-', True: 'yes', False: 'no'}[value]
  if isinstance(value, dict):
    return ', '.join(f'{name} {number(one)}' for name, one in value.items())
  if isinstance(value, list | tuple):
    return ', '.join(map(number, value))
  return series.format_value(value)


def numbers(found):
  """Returns `name: value` of the numbers of a rule, separated by semicolons."""
  return '; '.join(f'{name}: {number(value)}' for name, value in found.items())


def paragraphs(text):
  """Returns pairs (is code, text) of a docstring; what is indented is code.

  Commands of gpt-jax are left out: a page says how to run the study itself.
  """
  found = []
  for block in textwrap.dedent(text).strip().split('\n\n'):
    lines = block.split('\n')
    if all(line.strip().startswith('gpt-jax ') for line in lines):
      continue
    if all(line.startswith('  ') for line in lines if line):
      found.append((True, textwrap.dedent(block)))
    else:
      found.append((False, ' '.join(line.strip() for line in lines)))
  return found


def commands(report):
  """Returns the lines that run the study and report it again."""
  size = '' if report.size == 'quick' else f' --size={report.size}'
  path = source(report)
  return [f'gpt-jax sweep {path}{size}', f'gpt-jax report {path}{size}']


def source(report):
  """Returns the path of the experiment file as seen from the repository."""
  path = report.study.path
  return f'experiments/{path.name}' if path.parent.name == 'experiments' else path.name


def left_out(report, drawn):
  """Returns what stands in the place of a figure that could not be drawn."""
  why = drawn.problem.removeprefix(f'{report.study.path}: ')
  return f'{drawn.title}: this figure could not be drawn ({why.rstrip(".")}).'


def history(report, verdict):
  """Returns since when the rule of a verdict is what it is, by the study's log."""
  claim = verdict.claim
  first = next(
    (
      entry
      for entry in verdict_log.read(report.study.folder)
      if (entry['claim'], entry['version']) == (claim.name, claim.version)
      and entry['verdict'] != verdicts.NOT_ENOUGH_DATA
    ),
    None,
  )
  since = f'; first judged on {first["date"][:10]}, unchanged since' if first else ''
  return f'version {claim.version}{since}'


def earlier(entry):
  """Returns a verdict of the log that is no longer in force, in words."""
  parts = entry['date'][:10], numbers(entry.get('numbers', {}))
  found = '; '.join(filter(None, parts))
  return f'{entry["claim"]}, version {entry["version"]}: {entry["verdict"]} ({found})'


def facts(report):
  """Returns pairs (name, text): where the numbers come from."""
  starts = [
    start
    for result in report.results
    for start in provenance.read_starts(Workdir(result.point.workdir))
  ]
  found = [
    ('Experiment file', source(report)),
    ('Commit', _commits(report)),
    ('Machine', ', '.join(report.ran_on) or NONE),
    ('Meant for', report.machine),
    ('Time at work', duration(report.wall_seconds)),
    ('Report of', report.date[:16].replace('T', ' ') + ' UTC'),
  ]
  if report.diverged:
    found.append(('Diverged', ', '.join(report.diverged)))
  versions = starts[-1].get('versions', {}) if starts else {}
  if versions:
    shown = ', '.join(f'{name} {version}' for name, version in versions.items())
    found.append(('Versions', f'Python {starts[-1].get("python")}, {shown}'))
  return found


def _commits(report):
  plus = any(commit.endswith('+') for commit in report.commits)
  text = ', '.join(report.commits) or (NONE if not len(report.results) else 'unknown')
  return text + ' (+: with changes that were not committed)' * plus
