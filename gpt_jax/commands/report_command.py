"""Reports an experiment, or a fine-tuned run: tables, figures and one HTML page.

Of a run of a task (--workdir alone): its metrics beside those of baselines, learning
curves, confusions, calibration, tables by class and by length, the worst errors, and
what is known of its data, as WORKDIR/report.html (or in --out). Training writes it too.

Of an experiment file: the table, and what became of its claims.
Per claim: reproduced, not reproduced, not enough data, or reported, with the numbers
behind it. Table (Markdown, CSV, LaTeX), figures (PNG, SVG) and one HTML page go to
runs/NAME/SIZE/report. A sweep that is still running, or has not begun, is reported as
far as it is. Verdicts are kept in runs/NAME/SIZE/verdicts.jsonl: a rule that changes
after a verdict needs a new version. docs/experiments.md has the details.

examples:
  gpt-jax report --workdir=runs/sst2
  gpt-jax report experiments/entropy_floor.py
  gpt-jax report experiments/entropy_floor.py --size=paper --workdir=/data/runs
  gpt-jax report experiments/entropy_floor.py --out=docs/floors --json
"""

import json

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError


def add_arguments(parser):
  parser.add_argument(
    'file', metavar='FILE', nargs='?', help='an experiment file; none: report a run'
  )
  parser.add_argument('--size', default='quick', help='default: quick')
  flags.add_workdir(
    parser,
    help='a run of a task; with FILE where its runs are, instead of runs',
    required=False,
  )
  parser.add_argument(
    '--out',
    metavar='DIR',
    help='write there instead of the workdir, or runs/NAME/SIZE/report',
  )
  flags.add_json(parser)


def run(args, overrides):
  if args.file is None:
    flags.refuse_overrides(overrides)
    return _report_run(args)
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


def _report_run(args):
  if args.workdir is None:
    raise ConfigError(
      'report: name an experiment file, or the --workdir of a fine-tuned run.'
    )
  from gpt_jax.reports import task_page
  from gpt_jax.workdir import files
  from gpt_jax.workdir.paths import Workdir

  out = Workdir(args.workdir).report
  if args.out:
    out = files.check_writable(args.out) / out.name
  print(f'written to {task_page.write(args.workdir, out)}')
  if args.json:
    print(json.dumps(dict(report=str(out))))
