"""How far the points of an experiment are: done, running, failed and why, missing.

Read from the workdirs alone; nothing is written. `changed` are points that ran with
another config than the file states now.

examples:
  gpt-jax status experiments/entropy_floor.py
  gpt-jax status experiments/entropy_floor.py --size=paper --workdir=/data/runs --json
"""

from gpt_jax.commands import flags, sweep_command


def add_arguments(parser):
  sweep_command.add_study(parser)
  parser.add_argument('--all', action='store_true', help='list every point')
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides, args.file)
  from gpt_jax.execution import overview
  from gpt_jax.sweeps import points

  study = points.open_study(args.file, args.size, args.workdir)
  overview.show(overview.survey(study), args.json, args.all)
