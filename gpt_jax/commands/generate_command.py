"""Writes text with a run, token by token, as it is decoded (KV cache).

Temperature 0 is greedy. The same seed gives the same text. Settings left out come from
the run's config (section `inference`).

examples:
  gpt-jax generate --workdir=runs/tiny --prompt="The function returns"
  gpt-jax generate --workdir=runs/tiny --num_samples=3 --temperature=1 --top_p=0.95
"""

import sys

from gpt_jax.commands import flags


def add_arguments(parser):
  flags.add_workdir(parser)
  parser.add_argument('--prompt', default='', help='text to continue; may be empty')
  parser.add_argument('--step', type=int, metavar='N', help='default: the newest one')
  parser.add_argument('--num_samples', type=int, default=1, metavar='N')
  parser.add_argument('--max_new_tokens', type=int, metavar='N')
  parser.add_argument('--temperature', type=float, metavar='X', help='0: greedy')
  parser.add_argument('--top_k', type=int, metavar='K', help='0: off')
  parser.add_argument('--top_p', type=float, metavar='P', help='1: off')
  parser.add_argument('--seed', type=int, default=0, metavar='S')


def run(args, overrides):
  flags.refuse_overrides(overrides)
  flags.enable_compilation_cache()
  import gpt_jax

  trained = gpt_jax.load(args.workdir, step=args.step)
  defaults = trained.config.inference
  settings = {}
  for name in ('temperature', 'top_k', 'top_p'):
    given = getattr(args, name)
    settings[name] = getattr(defaults, name) if given is None else given
  # None: the number of the config, as far as the model has positions.
  settings['max_new_tokens'] = args.max_new_tokens
  for sample in range(args.num_samples):
    if args.num_samples > 1:
      print(f'--- sample {sample + 1} of {args.num_samples}, seed {args.seed + sample}')
    sys.stdout.write(args.prompt)
    for piece in trained.stream(args.prompt, seed=args.seed + sample, **settings):
      sys.stdout.write(piece)
      sys.stdout.flush()
    sys.stdout.write('\n')
