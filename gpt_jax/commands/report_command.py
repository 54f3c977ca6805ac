"""Prints the table of an experiment and what became of its claims, and writes both.

Per claim: reproduced, not reproduced, not enough data, or reported, with the numbers
behind it. Table (Markdown, CSV, LaTeX), figures (PNG, SVG) and one HTML page go to
runs/NAME/SIZE/report. A sweep that is still running, or has not begun, is reported as
far as it is. Verdicts are kept in runs/NAME/SIZE/verdicts.jsonl: a rule that changes
after a verdict needs a new version. docs/experiments.md has the details.

examples:
  gpt-jax report experiments/entropy_floor.py
  gpt-jax report experiments/entropy_floor.py --size=paper --workdir=/data/runs
  gpt-jax report experiments/entropy_floor.py --out=docs/floors --json
"""

import json

from gpt_jax.commands import flags


def add_arguments(parser):
  parser.add_argument('file', metavar='FILE', help='an experiment file')
  parser.add_argument('--size', default='quick', help='default: quick')
  flags.add_workdir(parser, help='where its runs are, instead of runs', required=False)
  parser.add_argument(
    '--out', metavar='DIR', help='write there instead of runs/NAME/SIZE/report'
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides, args.file)
  from gpt_jax.analysis import verdict_log
  from gpt_jax.reports import report, report_files
  from gpt_jax.sweeps import points
  from gpt_jax.workdir import files

  study = points.open_study(args.file, args.size, args.workdir)
  made = report.make_report(study)
  verdict_log.record(study, made.verdicts)
  report_files.show(made)
  folder = report_files.write(made, args.out)
  print(f'written to {folder}; to read: {folder / report_files.PAGE}')
  if args.json:
    print(json.dumps(files.read_json(folder / report_files.JSON)))
