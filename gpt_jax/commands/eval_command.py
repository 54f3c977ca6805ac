"""Scores a run's newest parameters on held-out splits.

Prints a table and saves it as WORKDIR/eval.json. `loss` is nats per token; bits per
byte divides by the bytes of raw text, so that models with different tokenizers compare.
The first eval.max_batches batches of each set are scored, with --all the whole set.
--baselines adds n-gram models and compressors on the same tokens. Several processes
(`gpt-jax launch`) each score a share of every batch; the first one prints and saves.
--tasks asks questions of public benchmarks instead (docs/decoding.md) and saves
WORKDIR/tasks.json.

examples:
  gpt-jax eval --workdir=runs/tiny --all
  gpt-jax eval --workdir=runs/tiny --baselines
  gpt-jax eval --workdir=runs/tiny --json
  gpt-jax eval --workdir=runs/gemma --tasks=piqa,blimp --limit=200
  gpt-jax eval --workdir=runs/gemma --tasks=piqa_local,squad_local --num_fewshot=2
  gpt-jax eval --workdir=runs/tiny --config.eval.sets="{'test': {'split': 'test'}}"
  gpt-jax launch --where=slurm --nodes=2 -- eval --workdir=runs/tiny --all
"""

import json

from gpt_jax.commands import eval_tasks, flags, host


def add_arguments(parser):
  flags.add_workdir(parser)
  flags.add_config_overrides(parser)
  parser.add_argument('--step', type=int, metavar='N', help='default: the newest one')
  parser.add_argument(
    '--all', action='store_true', help='score whole sets, as eval.max_batches=0 does'
  )
  parser.add_argument(
    '--baselines',
    action='store_true',
    help='add n-gram models and compressors fitted to the training split',
  )
  parser.add_argument(
    '--baseline_tokens',
    type=int,
    metavar='N',
    help='training tokens that baselines learn from; default: 10 million, 0: all',
  )
  eval_tasks.add_arguments(parser)
  flags.add_json(parser)
  flags.add_processes(parser)


def run(args, overrides):
  host.tune_malloc()
  flags.enable_compilation_cache()
  if args.tasks is not None:
    eval_tasks.run(args, overrides)
    return
  from gpt_jax.evaluation import evaluate
  from gpt_jax.parallel import multihost
  from gpt_jax.program import setup
  from gpt_jax.tracking import console
  from gpt_jax.train import score_run
  from gpt_jax.workdir import files
  from gpt_jax.workdir.paths import Workdir

  if args.all:
    overrides = overrides | {'eval.max_batches': 0}
  multihost.initialize(
    args.coordinator,
    args.num_processes,
    args.process_id,
    timeout_seconds=args.join_seconds,
  )
  limit = args.baseline_tokens
  report = score_run.score_run(
    args.workdir,
    overrides,
    step=args.step,
    with_baselines=args.baselines,
    baseline_tokens=score_run.BASELINE_TOKENS if limit is None else max(0, limit),
  )
  if not multihost.is_primary():
    return
  for name, metrics in report.sets.items():
    rows = [(key, console.number(value)) for key, value in metrics.items()]
    console.table(f'{name} at step {report.step}', ('metric', 'value'), rows)
  for name, rows in report.baselines.items():
    columns = ('predictor', 'nats/token', 'bits/byte')
    console.table(f'{name}: the model and baselines', columns, rows)
  workdir = Workdir(args.workdir)
  if report.results:
    from gpt_jax.tasks import make_task
    from gpt_jax.train import task_end

    task = make_task(setup.read_config(workdir))
    task_end.write_results(workdir, report.step, report.results, task)
  else:
    result = evaluate.by_set(report.flat(), report.step)
    files.write_json(workdir.eval, result)
  if args.json:
    print(json.dumps(report.sets))
