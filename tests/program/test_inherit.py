"""init.model=keep: the model of init_from in the place of the config's own."""

import copy
import json

import pytest

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import inherit, setup
from tests import small_models as small
from tests import tiny_runs


@pytest.fixture
def source(tmp_path):
  """Returns the folder of a run's config; a model unlike that of `small`."""
  config = tiny_runs.tiny_config(
    {
      'data.seq_len': 256,
      'model.d_model': 48,
      'model.dropout': 0.3,
      'attention.softcap': 5.0,
    }
    | tiny_runs.ONE_LAYER
  )
  (tmp_path / 'config.json').write_text(json.dumps(load.to_dict(config)))
  return str(tmp_path)


def values(source, **init):
  base = copy.deepcopy(small.base_values())
  base['init_from'] = source
  base['init'] |= dict(model='keep') | init
  return base


def test_the_model_of_the_source_is_taken(source):
  config = setup.resolve(values(source))
  assert (config.model.d_model, config.model.num_layers) == (48, 1)
  assert config.attention.softcap == 5.0
  assert config.model.attention_dropout == 0.3


def test_one_dropout_of_the_command_line_sets_all(source):
  found = setup.resolve(values(source), {'model.dropout': 0.0}).model
  assert found.embed_dropout == found.attention_dropout == 0.0
  found = setup.resolve(values(source), {'model.embed_dropout': 0.0}).model
  assert (found.embed_dropout, found.attention_dropout) == (0.0, 0.3)


def test_overrides_of_the_command_line_stay(source):
  config = setup.resolve(values(source), {'model.norm': 'layernorm'})
  assert config.model.norm == 'layernorm'


def test_the_result_needs_no_source_any_more(source, tmp_path):
  config = setup.resolve(values(source), {'init.model': 'keep'})
  assert config.init.model == 'own'
  (tmp_path / 'config.json').unlink()
  assert setup.resolve(load.to_dict(config)) == config


def test_its_own_model_is_the_default(source):
  given = values(source, model='own')
  assert inherit.with_model_of_source(given, {}) == (given, {})


def test_an_encoder_makes_task_heads_see_all_of_a_text(tmp_path):
  settings = {'objective.name': 'masked_lm', 'data.seq_len': 256}
  encoder = tiny_runs.tiny_config(settings)
  (tmp_path / 'config.json').write_text(json.dumps(load.to_dict(encoder)))
  given = values(str(tmp_path))
  given['objective'] |= dict(name='class_labels', options=dict(num_labels=3))
  config = setup.resolve(given)
  assert config.objective.options.attention == 'bidirectional'
  assert config.objective.options.pooling == 'mean'
  assert config.objective.options.num_labels == 3


@pytest.mark.parametrize('attention', ['causal', 'bidirectional'])
def test_a_fine_tuned_model_goes_on_seeing_what_it_saw(tmp_path, attention):
  tuned = tiny_runs.tiny_config(
    {
      'objective.name': 'class_labels',
      'objective.options.attention': attention,
      'objective.options.pooling': 'first' if attention == 'bidirectional' else 'last',
      'data.seq_len': 256,
    }
  )
  (tmp_path / 'config.json').write_text(json.dumps(load.to_dict(tuned)))
  given = values(str(tmp_path))
  given['objective'] |= dict(name='regression', options={})
  options = setup.resolve(given).objective.options
  assert (options.attention, options.pooling) == (
    attention,
    tuned.objective.options.pooling,
  )


def test_a_folder_that_is_no_model_is_refused(tmp_path):
  with pytest.raises(
    ConfigError, match='neither the workdir of a run nor a pretrained'
  ):
    setup.resolve(values(str(tmp_path / 'nothing')))
