"""gpt-jax tasks lists every task and recipe."""

import json

from configs import finetune
from gpt_jax import cli
from gpt_jax.tasks import TASKS


def test_every_task_and_recipe_is_listed(capsys):
  assert cli.main(['tasks', '--json']) in (0, None)
  found = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert {one['name'] for one in found['tasks']} == set(TASKS)
  assert all(one['inputs'] and one['metrics'] for one in found['tasks'])
  assert found['recipes'].keys() == finetune.RECIPES.keys()
  assert all(found['recipes'].values())
