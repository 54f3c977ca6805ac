"""Runs tasks of lm-evaluation-harness, and the local ones that come with us."""

import logging
import pathlib

from gpt_jax.core.errors import ConfigError

HERE = pathlib.Path(__file__).parent


def local_tasks():
  """Returns the names of the tasks over local data sets; the harness is not needed."""
  return sorted(path.stem for path in HERE.glob('*_local*.yaml'))


def task_manager(data_dir=None):
  """Returns a TaskManager that knows the harness's tasks and the local ones."""
  from gpt_jax.harness.lm_eval_model import TaskManager  # type: ignore

  logging.getLogger('lm_eval').setLevel(logging.ERROR)  # advice to writers of tasks
  metadata = {'data_dir': str(data_dir)} if data_dir else {}
  return TaskManager(include_path=str(HERE), metadata=metadata)


def require_known(names, manager):
  """Raises ConfigError for tasks that a TaskManager lacks."""
  unknown = [name for name in names if name not in manager.all_tasks]
  if unknown:
    raise ConfigError(
      f'--tasks={",".join(unknown)}: no such task of lm-evaluation-harness; local ones:'
      f' {", ".join(local_tasks())}.'
    )


def evaluate(run, names, manager, *, advance=None, **options):
  """Returns what `lm_eval.simple_evaluate` does for a Run and names of tasks.

  `options` are its own; `advance(count)` is told of answers that are done.
  """
  from gpt_jax.harness.lm_eval_model import GptJaxLM, simple_evaluate  # type: ignore

  require_known(names, manager)
  settings = {'bootstrap_iters': 100, 'log_samples': False} | options
  return simple_evaluate(
    GptJaxLM(run=run, advance=advance),
    tasks=list(names),
    task_manager=manager,
    **settings,
  )


def by_task(results):
  """Returns `{task: {metric: number}}` of what `evaluate` returned."""
  return {
    task: {
      name.removesuffix(',none'): value
      for name, value in metrics.items()
      if isinstance(value, int | float)
    }
    for task, metrics in (results['results'] | results.get('groups', {})).items()
  }
