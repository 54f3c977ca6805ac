"""Runs the points of an experiment file that are missing.

examples:
  gpt-jax sweep experiments/induction_heads.py
"""

from gpt_jax.commands import flags, host


def add_arguments(parser):
  parser.add_argument('file', metavar='FILE', help='an experiment file')
  parser.add_argument('--size', default='quick', help='default: quick')
  flags.add_workdir(parser, help='instead of runs', required=False)


def run(args, overrides):
  host.tune_malloc()
  flags.refuse_overrides(overrides)
  flags.enable_compilation_cache()
  from gpt_jax.sweeps import points, results
  from gpt_jax.train import loop

  study = points.open_study(args.file, args.size, args.workdir)
  for i, point in enumerate(study.points):
    if not results.is_done(point):
      print(f'{i + 1}/{len(study.points)} {point.name}', flush=True)
      loop.train(point.config, point.workdir)
