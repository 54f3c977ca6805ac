"""Scores a run's newest parameters, of a task the best ones, on held-out splits.

Prints a table and saves it as WORKDIR/eval.json. `loss` is nats per token; bits per
byte divides by the bytes of raw text, so that models with different tokenizers compare.
The first eval.max_batches batches of each set are scored, with --all the whole set.
--baselines adds n-gram models and compressors on the same tokens. Of a task there are
tables by class, too, and --baselines are predictors without a neural network;
--ensemble scores the mean of the probabilities of several runs. Several processes
(`gpt-jax launch`) each score a share of every batch; the first one prints and saves.
--tasks asks questions of public benchmarks instead (docs/decoding.md) and saves
WORKDIR/tasks.json.

With --config it scores what a training by that config would begin with, such as a
pretrained model before any: --workdir is then a folder for the results.

examples:
  gpt-jax eval --workdir=runs/tiny --all
  gpt-jax eval --workdir=runs/tiny --baselines
  gpt-jax eval --workdir=runs/tiny --json
  gpt-jax eval --workdir=runs/sst2 --ensemble=runs/sst2_seed1,runs/sst2_seed2
  gpt-jax eval --config=configs/finetune.py:sst2_prompt --workdir=runs/zero_shot \
      --config.init_from=runs/gemma --config.task.options.shots=4
  gpt-jax eval --workdir=runs/gemma --tasks=piqa,blimp --limit=200
  gpt-jax eval --workdir=runs/gemma --tasks=bias --toxicity_classifier=runs/toxic
  gpt-jax eval --workdir=runs/gemma --tasks=piqa_local,squad_local --num_fewshot=2
  gpt-jax eval --workdir=runs/tiny --config.eval.sets="{'test': {'split': 'test'}}"
  gpt-jax launch --where=slurm --nodes=2 -- eval --workdir=runs/tiny --all
"""

import json

from gpt_jax.commands import eval_tasks, flags, host
from gpt_jax.core.errors import ConfigError


def add_arguments(parser):
  flags.add_workdir(parser)
  flags.add_config(parser)
  parser.add_argument(
    '--step', type=int, metavar='N', help='default: the newest, of a task the best one'
  )
  parser.add_argument(
    '--all', action='store_true', help='score whole sets, as eval.max_batches=0 does'
  )
  parser.add_argument(
    '--baselines',
    action='store_true',
    help='add predictors without a neural network, fitted to the training split',
  )
  parser.add_argument(
    '--baseline_tokens',
    type=int,
    metavar='N',
    help='training tokens that baselines learn from; default: 10 million, 0: all',
  )
  parser.add_argument(
    '--ensemble', metavar='DIR,DIR', help='of a task: runs to average with this one'
  )
  eval_tasks.add_arguments(parser)
  flags.add_json(parser)
  flags.add_processes(parser)


def run(args, overrides):
  host.tune_malloc()
  flags.enable_compilation_cache()
  for flag in ('tasks', 'ensemble') if args.config is not None else ():
    if getattr(args, flag) is not None:
      raise ConfigError(f'--config: does not go with --{flag}, which scores runs.')
  if args.tasks is not None:
    eval_tasks.run(args, overrides)
    return
  from gpt_jax.commands import eval_results
  from gpt_jax.parallel import multihost
  from gpt_jax.workdir.paths import Workdir

  if args.all:
    overrides = overrides | {'eval.max_batches': 0}
  multihost.initialize(
    args.coordinator,
    args.num_processes,
    args.process_id,
    timeout_seconds=args.join_seconds,
  )
  if args.ensemble:
    eval_results.run_ensemble(args, overrides)
    return
  report = _scored(args, overrides)
  if not multihost.is_primary():
    return
  workdir = Workdir(args.workdir)
  eval_results.show(report, workdir)
  eval_results.save(report, workdir)
  if args.json:
    print(json.dumps(eval_results.finite(report.sets)))


def _scored(args, overrides):
  """Returns the `score_run.Scores` of a run, or of what a config begins with."""
  from gpt_jax.train import score_run

  options: dict = dict(with_baselines=args.baselines)
  if args.baseline_tokens is not None:
    options['baseline_tokens'] = max(0, args.baseline_tokens)
  if args.config is None:
    return score_run.score_run(args.workdir, overrides, step=args.step, **options)
  from gpt_jax.config.files import load_file
  from gpt_jax.program import setup
  from gpt_jax.train import score_start

  if args.step is not None:
    raise ConfigError(
      f'--step={args.step}: does not go with --config, which is step 0.'
    )
  config = setup.resolve(load_file(args.config), overrides)
  setup.check_plan(config)
  return score_start.score_start(config, args.workdir, **options)
