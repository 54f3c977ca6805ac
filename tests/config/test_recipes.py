"""The recipes of configs/finetune.py: they resolve, and say what they cost."""

import inspect
import re

import pytest

from configs import finetune
from gpt_jax import objectives
from gpt_jax.config.files import load_file
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup
from gpt_jax.tasks import make_task


def resolved(recipe):
  # As with a model to start from, which it does not need to be there for.
  file = load_file(f'configs/finetune.py:{recipe}')
  return setup.resolve(file, {'init.model': 'own'})


@pytest.mark.parametrize('recipe', sorted(finetune.RECIPES))
def test_a_recipe_resolves_and_chooses_a_metric_of_its_task(recipe):
  config = resolved(recipe)
  setup.check_plan(config)
  task = make_task(config)
  assert config.objective.name in task.objectives
  name, _, metric = config.checkpoint.best_metric.rpartition('/')
  assert name in config.eval.sets
  expected = task.higher_is_better if metric == task.metrics[0] else metric != 'loss'
  assert (config.checkpoint.best_mode == 'max') == expected
  assert objectives.describe(config).writes_text == (task.answers != 'outputs')


def test_a_pretrained_model_has_to_be_named():
  with pytest.raises(ConfigError, match='set --config.init_from=MODEL'):
    setup.resolve(load_file('configs/finetune.py:sst2'))
  from_scratch = setup.resolve(load_file('configs/finetune.py:resume_ner'))
  assert from_scratch.init.model == 'own'


@pytest.mark.parametrize('recipe', sorted(finetune.RECIPES))
def test_a_recipe_has_its_command(recipe):
  text = inspect.getdoc(finetune.RECIPES[recipe])
  assert re.search(rf'--config=configs/finetune.py:{recipe}\b', text)


def test_a_wrong_recipe_lists_those_there_are():
  with pytest.raises(ConfigError, match='sst3.*expected one of.*sst2'):
    load_file('configs/finetune.py:sst3')
