"""Runs the quick size of every experiment file and writes the pages of docs/studies.

make studies                                 runs what is missing, writes all pages
make studies STUDIES_FLAGS='--jobs=2'        with flags of gpt-jax sweep
python -m gpt_jax.reports.studies             writes the pages of runs that are there
python -m gpt_jax.reports.studies --check     names pages older than their file
"""

import argparse
import ast
import pathlib
import subprocess
import sys
import time

from gpt_jax.analysis import verdict_log
from gpt_jax.core.errors import UserError
from gpt_jax.reports import page_text, report, study_pages
from gpt_jax.sweeps import loading, points
from gpt_jax.workdir import files

EXPERIMENTS = pathlib.Path('experiments')
PAGES = pathlib.Path('docs/studies')
QUICK = 'quick'


def main(argv=None):
  """Returns the exit code: 1 when a sweep has failed or a checked page is old."""
  args, sweep_flags = _parser().parse_known_args(argv)
  if args.check:
    return check(args.out, args.experiments)
  try:
    paths = experiment_files(args.experiments)
    chosen = experiment_files(args.experiments, args.names)
    failed = run(chosen, args.workdir, sweep_flags) if args.run else []
    failed += build(paths, args.out, args.workdir)
  except UserError as error:
    print(f'studies: error: {error}', file=sys.stderr)
    return error.exit_code
  for path in dict.fromkeys(failed):
    print(f'failed: {path}', file=sys.stderr)
  return 1 if failed else 0


def experiment_files(folder=EXPERIMENTS, names=()):
  """Returns the experiment files of `folder` that have a quick size, cheapest first."""
  found = []
  for path in sorted(pathlib.Path(folder).glob('*.py')):
    if names and path.stem not in names or not _defines_experiment(path):
      continue
    sizes = loading.load_experiment(path).sizes
    if QUICK in sizes:
      found.append((sizes[QUICK].minutes, path))
  return [path for _, path in sorted(found)]


def run(paths, workdir=None, sweep_flags=()):
  """Runs what is missing of each study; returns the files whose sweep has failed."""
  place = [] if workdir is None else [f'--workdir={workdir}']
  failed, begin = [], time.monotonic()
  for i, path in enumerate(paths):
    elapsed = page_text.duration(time.monotonic() - begin)
    print(f'study {i + 1} of {len(paths)}: {path} (after {elapsed})', flush=True)
    sweep = ['-m', 'gpt_jax', 'sweep', str(path), *place, *sweep_flags]
    # A process of its own: memory and devices are free again before the next study.
    code = subprocess.run([sys.executable, *sweep], check=False).returncode
    if code in (75, 130):  # interrupted: what is there is kept, nothing more is begun
      raise SystemExit(code)
    if code:
      failed.append(path)
  return failed


def build(paths, out=PAGES, workdir=None):
  """Writes a page of each study with results, and the index.

  Returns the files of which no page could be made; why is printed.
  """
  out = files.check_writable(out)
  entries, absent, failed = [], [], []
  for path in paths:
    try:
      study = points.open_study(path, QUICK, workdir)
      made = report.make_report(study)
      if len(made.missing) == made.num_points and not made.changed:
        absent.append(path)
        continue
      verdict_log.record(study, made.verdicts)
      entries.append(study_pages.write_page(made, out))
    except UserError as error:
      print(error, file=sys.stderr)
      failed.append(path)
      continue
    verdicts = ', '.join(f'{v.name}: {v.verdict}' for v in made.verdicts)
    print(f'{entries[-1].path}  {verdicts or "no claims"}', flush=True)
  files.write_text(out / 'README.md', study_pages.index(entries, absent, failed))
  return failed


def check(out=PAGES, experiments=EXPERIMENTS):
  """Prints pages whose experiment file is another by now; returns the exit code."""
  old = study_pages.stale(out, experiments)
  for path in old:
    print(f'{path}: its experiment file has changed; make studies writes it again.')
  return 1 if old else 0


def _defines_experiment(path):
  tree = ast.parse(path.read_text(encoding='utf-8'))
  return any(
    isinstance(node, ast.FunctionDef) and node.name == 'get_experiment'
    for node in tree.body
  )


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m gpt_jax.reports.studies',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
    epilog='Other flags are those of gpt-jax sweep, for --run.',
  )
  parser.add_argument('--run', action='store_true', help='run missing points first')
  parser.add_argument('--check', action='store_true', help='only name old pages')
  parser.add_argument('names', nargs='*', metavar='NAME', help='to run; default: all')
  parser.add_argument('--workdir', metavar='DIR', help='where runs lie; default: runs')
  parser.add_argument('--out', default=str(PAGES), metavar='DIR', help='of the pages')
  parser.add_argument('--experiments', default=str(EXPERIMENTS), metavar='DIR')
  return parser


if __name__ == '__main__':
  sys.exit(main())
