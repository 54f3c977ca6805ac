"""Writes text with a run, token by token, as it is decoded (KV cache).

Temperature 0 is greedy. The same seed gives the same text. Settings left out come from
the run's config (section `inference`). A model too large for one device decodes on
several: on the mesh it was trained on, or the one that --config.parallel.mesh gives.

examples:
  gpt-jax generate --workdir=runs/tiny --prompt="The function returns"
  gpt-jax generate --workdir=runs/tiny --num_samples=3 --temperature=1 --top_p=0.95
  gpt-jax generate --workdir=runs/tiny --config.parallel.mesh.tensor=4
"""

import sys

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError


def add_arguments(parser):
  flags.add_workdir(parser)
  flags.add_config_overrides(parser)
  parser.add_argument('--prompt', default='', help='text to continue; may be empty')
  parser.add_argument('--step', type=int, metavar='N', help='default: the newest one')
  parser.add_argument('--num_samples', type=int, default=1, metavar='N')
  parser.add_argument('--max_new_tokens', type=int, metavar='N')
  parser.add_argument('--temperature', type=float, metavar='X', help='0: greedy')
  parser.add_argument('--top_k', type=int, metavar='K', help='0: off')
  parser.add_argument('--top_p', type=float, metavar='P', help='1: off')
  parser.add_argument('--seed', type=int, default=0, metavar='S')


def run(args, overrides):
  if args.num_samples < 1:
    raise ConfigError(f'--num_samples={args.num_samples}: expected at least 1.')
  flags.enable_compilation_cache()
  import gpt_jax

  trained = gpt_jax.load(args.workdir, step=args.step, overrides=overrides)
  if trained.rules is not None:
    print(trained.placement(), file=sys.stderr)
  names = ('max_new_tokens', 'temperature', 'top_k', 'top_p')
  settings = {name: getattr(args, name) for name in names}
  for sample in range(args.num_samples):
    if args.num_samples > 1:
      print(f'--- sample {sample + 1} of {args.num_samples}, seed {args.seed + sample}')
    # Before the prompt is shown: a setting that cannot be stops the command here.
    pieces = trained.stream(args.prompt, seed=args.seed + sample, **settings)
    sys.stdout.write(args.prompt)
    for piece in pieces:
      sys.stdout.write(piece)
      sys.stdout.flush()
    sys.stdout.write('\n')
