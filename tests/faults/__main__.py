"""Injects each fault many times and prints the table of the outcomes.

  make faults                                      the full size, an hour or two
  python -m tests.faults --scale=0.05 --only=kills,soak --json=faults.json

A row has the fault, how often it was tried, the outcomes, whether nothing was lost, and
a message that was shown. The exit code is 1 when something was lost.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]


def main(argv=None):
  _prepare()
  from gpt_jax.workdir.provenance import git_state
  from tests.faults import lanes, runs

  options = _parse(argv, lanes.LANES)
  rows, start, commit = [], time.monotonic(), (git_state(ROOT) or {}).get('commit')
  if options.minutes:
    runs.DEADLINE[0] = start + 60 * options.minutes
  for name in options.only:
    lane, size = lanes.LANES[name]
    size = size * options.scale if isinstance(size, float) else size
    size = size if isinstance(size, float) else max(1, round(size * options.scale))
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix='gpt_jax_faults_') as folder:
      row = lane(size, rng, pathlib.Path(folder))
    if row is not None:
      rows.append(row)
      print(_markdown(row), flush=True)
  report = dict(
    commit=commit,
    machine=f'{platform.machine()}, {os.cpu_count()} cores, {platform.system()}',
    seconds=round(time.monotonic() - start),
    rows=rows,
  )
  if options.json:
    pathlib.Path(options.json).write_text(json.dumps(report, indent=2) + '\n')
  print(f'{len(rows)} faults in {report["seconds"]} s at {commit}')
  return 0 if all(row['nothing_lost'] for row in rows) else 1


def _prepare():
  """Sets what jax and the allocator read when they start, as `gpt-jax train` does."""
  os.environ['JAX_PLATFORMS'] = 'cpu'
  os.environ.setdefault('GPT_JAX_CACHE', str(ROOT / '.cache' / 'xla'))
  os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0'
  from gpt_jax.commands import host

  host.tune_malloc()


def _markdown(row):
  """Returns a row as a line of a Markdown table."""
  outcomes = ', '.join(f'{count} {name}' for name, count in row['outcomes'].items())
  lost = 'yes' if row['nothing_lost'] else '**NO**'
  message = row['message'].replace('\n', ' ').replace('|', '/')
  return f'| {row["fault"]} | {row["tries"]} | {outcomes} | {lost} | {message} |'


def _parse(argv, lanes):
  parser = argparse.ArgumentParser(
    prog='python -m tests.faults', description=__doc__.splitlines()[0]
  )
  parser.add_argument('--scale', type=float, default=1.0, help='of tries, default: 1')
  parser.add_argument(
    '--only',
    default=','.join(lanes),
    help='lanes, with commas; serve: all of gpt-jax serve',
  )
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--minutes', type=float, help='after these, kills and processes try no more'
  )
  parser.add_argument('--json', metavar='FILE', help='write the table there')
  options = parser.parse_args(argv)
  options.only = options.only.split(',')
  if 'serve' in options.only:
    options.only.remove('serve')
    options.only += [name for name in lanes if name.startswith('serve_')]
  if unknown := set(options.only) - set(lanes):
    parser.error(f'--only: no lane {", ".join(unknown)}; there are {", ".join(lanes)}')
  return options


if __name__ == '__main__':
  sys.exit(main())
