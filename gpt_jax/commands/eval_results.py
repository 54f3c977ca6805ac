"""What `gpt-jax eval` prints and saves: metrics, tables by class, baselines."""

import json
import math

from gpt_jax.core.errors import ConfigError


def show(report, workdir):
  """Prints the tables of `score_run.Scores` of the run in a Workdir."""
  from gpt_jax.tracking import console

  for name, metrics in report.sets.items():
    rows = [(key, console.number(_cell(value))) for key, value in metrics.items()]
    console.table(f'{name} at step {report.step}', ('metric', 'value'), rows)
    result = report.results.get(name)
    if result and result.scores:
      _show_details(name, result.scores.details)
  for name, rows in report.baselines.items():
    columns = ('predictor', 'nats/token', 'bits/byte')
    console.table(f'{name}: the model and baselines', columns, rows)
  for name, found in report.task_baselines.items():
    _show_baselines(name, _task_of(workdir), report.sets[name], found)


def save(report, workdir):
  """Writes what `show` prints into a Workdir."""
  from gpt_jax.evaluation import evaluate
  from gpt_jax.train import task_baselines, task_end
  from gpt_jax.workdir import files

  if not report.results:
    files.write_json(workdir.eval, evaluate.by_set(report.flat(), report.step))
    return
  task_end.write_results(workdir, report.step, report.results, _task_of(workdir))
  if report.task_baselines:
    task_baselines.write(workdir, report.task_baselines)


def finite(sets):
  """Returns `{set: metrics}` with None for what is not finite, as JSON has it."""
  return {
    name: {k: value if math.isfinite(value) else None for k, value in one.items()}
    for name, one in sets.items()
  }


def run_ensemble(args, overrides):
  """Scores the runs of --workdir and --ensemble together; prints and saves it."""
  from gpt_jax.parallel import multihost
  from gpt_jax.tracking import console
  from gpt_jax.train import ensemble
  from gpt_jax.workdir import files, path_lists
  from gpt_jax.workdir.paths import Workdir

  for flag in ('step', 'baselines', 'baseline_tokens'):
    if getattr(args, flag) not in (None, False):
      raise ConfigError(
        f'--{flag}: does not go with --ensemble, which scores the best step of each'
        ' run.'
      )
  others = [part for part in path_lists.split(args.ensemble) if part]
  found = ensemble.score_ensemble([args.workdir, *others], overrides)
  if not multihost.is_primary():
    return
  for name in found.sets:
    columns, rows = found.table(name)
    cells = [tuple(map(_cell, row)) for row in rows]
    console.table(f'{name}: {found.how}', columns, cells)
  files.write_json(Workdir(args.workdir).ensemble, found.as_json())
  if args.json:
    print(json.dumps(found.as_json()))


def _show_details(name, details):
  from gpt_jax.evaluation import scores
  from gpt_jax.tracking import console

  for key, rows in scores.tables_of(details).items():
    cells = [tuple(map(_cell, row.values())) for row in rows]
    console.table(f'{name}: {key.replace("_", " ")}', tuple(rows[0]), cells)


def _show_baselines(name, task, metrics, found):
  from gpt_jax.tracking import console
  from gpt_jax.train import task_baselines

  if not found:
    print(f'{name}: this task has no baselines, or the set no answers')
    return
  others = {method: scores.metrics for method, scores in found.items()}
  columns, rows = task_baselines.table(task, metrics, others)
  cells = [tuple(map(_cell, row)) for row in rows]
  console.table(f'{name}: the model and baselines', columns, cells)


def _cell(value):
  """Returns what `console.table` shows of a value; numbers stay numbers, nan is '-'."""
  if value is None or value != value:
    return '-'
  return value if isinstance(value, int | float) else str(value)


def _task_of(workdir):
  from gpt_jax.program import setup
  from gpt_jax.tasks import make_task

  task = make_task(setup.read_config(workdir))
  assert task is not None
  return task
