"""Members of task.mixture: other examples, or other tasks, in the same training."""

import dataclasses

from gpt_jax import tasks
from gpt_jax.config import options, values
from gpt_jax.config.schema import TaskConfig
from gpt_jax.core.errors import Problem, require_none
from gpt_jax.core.registry import lookup
from gpt_jax.core.sections import NoOptions

OWN = ''
"""The name of the task itself among the members."""


def members(config):
  """Returns `{name: (Config, share or None)}`, the task itself first, under OWN.

  A member has the fields of the task but for those that it names. Raises ConfigError
  for fields that there are not.
  """
  found, problems = {OWN: (_alone(config, config.task), None)}, []
  for name, given in config.task.mixture.items():
    cfg = _section(config, name, dict(given), problems)
    if cfg is not None:
      found[name] = (_alone(config, cfg), given.get('share'))
  require_none(problems)
  return found


def problems(config):
  """Returns the Problems of task.mixture."""
  found = []
  for name, given in config.task.mixture.items():
    field = f'task.mixture.{name}'
    if not isinstance(given, dict):
      found.append(
        Problem(field, f'={given!r}: expected a dict of fields of a task, and share')
      )
      continue
    share = given.get('share', 0.5)
    if type(share) is not float or not 0 < share < 1:
      text = f'={share!r}: expected a number between 0 and 1'
      found.append(Problem(f'{field}.share', text))
    if name in config.eval.sets or name in ('', 'test'):
      text = ': is the name of another set; give another one'
      found.append(Problem(field, text))
    before = len(found)
    cfg = _section(config, name, dict(given), found)
    if cfg is not None and len(found) == before:
      task = tasks.make_task(_alone(config, cfg))
      assert task is not None
      found += problems_of_objective(config, task, f'{field}.name')
  shares = [
    one.get('share', 0) for one in config.task.mixture.values() if isinstance(one, dict)
  ]
  if all(isinstance(one, int | float) for one in shares) and sum(shares) >= 1:
    text = f': shares add up to {sum(shares):g}; the task itself needs some, too'
    found.append(Problem('task.mixture', text))
  return found


def problems_of_objective(config, task, field):
  """Yields a Problem where objective.name trains no rows of a task, set at `field`."""
  objective = config.objective.name
  if objective not in task.objectives and ':' not in objective:
    text = f'={objective!r}: {field}={task.name!r} trains with'
    yield Problem('objective.name', f'{text} {" or ".join(task.objectives)}')


def _alone(config, cfg):
  return dataclasses.replace(config, task=dataclasses.replace(cfg, mixture={}))


def _section(config, name, given, problems):
  """Returns the TaskConfig of a member, None where it has problems, which are added."""
  prefix, given = f'task.mixture.{name}.', dict(given)
  given.pop('share', None)
  own = given.pop('options', {})
  merged = values.plain(config.task) | {'mixture': {}}
  for key, value in given.items():
    values.override(merged, key, value, problems, cls=TaskConfig, prefix=prefix)
  if merged['name'] == config.task.name:
    own = values.plain(config.task.options) | dict(own)
  entry = tasks.TASKS.get(merged['name']) or lookup(
    tasks.TASKS, merged['name'], f'{prefix}name'
  )
  declared = getattr(entry, 'options', NoOptions)
  picked = f'task.name={merged["name"]!r}'
  merged['options'] = options.make(
    own, {}, declared, f'{prefix}options', picked, problems
  )
  return values.build(TaskConfig, merged, prefix, problems)
