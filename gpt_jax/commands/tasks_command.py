"""Lists the tasks that a model can be fine-tuned for, and shipped recipes.

A task reads the fields of an example that are shown (task.columns says where a file has
them); its metrics are what evaluation gives beside the loss, the first of them chooses
the checkpoint. A recipe is a config: --config=configs/finetune.py:RECIPE.

examples:
  gpt-jax tasks --json
  gpt-jax tasks
"""

import json

from gpt_jax.commands import flags

RECIPES = 'finetune.py'


def add_arguments(parser):
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  from gpt_jax.tracking import console

  tasks = [_task(name) for name in _registry()]
  recipes = _recipes()
  columns = ('task', 'reads', 'predicts', 'objective', 'metrics')
  rows = [
    (
      one['name'],
      ' '.join(one['inputs']),
      one['target'],
      ' '.join(one['objectives']),
      ' '.join(one['metrics']),
    )
    for one in tasks
  ]
  console.table('tasks: task.name', columns, rows)
  console.table(
    f'recipes: --config=configs/{RECIPES}:RECIPE',
    ('recipe', 'what it trains'),
    list(recipes.items()),
  )
  if args.json:
    print(json.dumps({'tasks': tasks, 'recipes': recipes}))


def _registry():
  from gpt_jax.tasks import TASKS

  return TASKS


def _task(name):
  import sys

  module = vars(sys.modules[_registry()[name].__module__])
  cls = next(one for one in module.values() if getattr(one, 'name', None) == name)
  return dict(
    name=name,
    inputs=list(cls.inputs),
    target=cls.target,
    objectives=list(cls.objectives),
    metrics=list(cls.metrics),
  )


def _recipes():
  """Returns {recipe: its first line} of the shipped config."""
  import inspect
  import runpy

  from gpt_jax import configs

  module = runpy.run_path(str(configs.FOLDER / RECIPES))
  return {
    name: (inspect.getdoc(make) or '').partition('\n')[0]
    for name, make in module['RECIPES'].items()
  }
