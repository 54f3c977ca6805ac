"""A config and overrides in, one frozen Config or all its problems out."""

import json

import pytest
from ml_collections import ConfigDict

from gpt_jax.attention import KERNELS
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup
from tests import small_models as small


def problem(**overrides):
  with pytest.raises(ConfigError) as caught:
    small.resolve(**overrides)
  return str(caught.value)


# Overrides


def test_lists_become_tuples():
  assert small.resolve(model__layer_pattern=['global']).model.layer_pattern == (
    'global',
  )


def test_dicts_can_be_overridden_whole_or_by_key():
  whole = small.resolve(parallel__mesh={'data': 4})
  assert whole.parallel.mesh == {'data': 4}
  config = load.resolve(
    small.base_config(),
    {
      'parallel.mesh.tensor': '2',
      'parallel.overrides.mlp': 'fsdp',
      'eval.sets.validation.split': 'test',
      'eval.sets.more': {'split': 'train'},
    },
  )
  assert config.parallel.mesh['tensor'] == 2 and config.parallel.mesh['data'] == -1
  assert config.parallel.overrides == {'mlp': 'fsdp'}
  assert config.eval.sets == {
    'validation': {'split': 'test'},
    'more': {'split': 'train'},
  }


def test_overrides_do_not_change_the_given_config():
  config = small.base_config()
  before = config.to_json()
  load.resolve(config, {'model.num_layers': 3, 'parallel.mesh.tensor': 2})
  assert config.to_json() == before


# Errors


def test_all_problems_are_reported_together():
  text = problem(
    model__num_layer=3, optimizer__learning_rate=-1.0, model__norm='batchnorm',
    train__batch_size=True, modl__d_model=4,
  )  # fmt: skip
  assert text.startswith('5 problem(s)')
  for line in (
    "model.num_layer: unknown key; did you mean 'num_layers'?",
    "modl: unknown key; did you mean 'model'?",
    'optimizer.learning_rate=-1.0: expected more than 0.0',
    "model.norm='batchnorm': expected one of layernorm, rmsnorm; did you mean",
    'train.batch_size=True: expected int, not bool',
  ):
    assert line in text


def test_conflicts_are_reported_together_too():
  text = problem(
    model__num_heads=3, model__num_kv_heads=2, train__steps=9, train__tokens=5,
    train__grad_accum=7,
  )  # fmt: skip
  assert text.startswith('4 problem(s)')


def test_an_unknown_key_without_a_near_name_lists_all():
  assert 'known here: ' in problem(checkpoint__zzz=1)


def test_a_field_below_a_field_is_an_unknown_key():
  assert 'model.num_layers' in problem(model__num_layers__x=1)


def test_a_section_cannot_be_a_number():
  assert 'model=3: expected a section of fields' in config_error({'model': 3})


def config_error(overrides):
  with pytest.raises(ConfigError) as caught:
    load.resolve(small.base_config(), overrides)
  return str(caught.value)


def test_a_missing_field_or_section_points_to_base():
  config = small.base_config().to_dict()
  del config['schedule']
  del config['model']['norm']
  for resolve in (load.resolve, setup.resolve):
    with pytest.raises(ConfigError) as caught:
      resolve(config)
    text = str(caught.value)
    assert 'schedule: missing; start the config from configs/base.py' in text
    assert 'model.norm: missing' in text


def test_unknown_fields_of_eval_sets_and_mixtures_are_named():
  text = config_error(
    {
      'eval.sets': {'mine': {'splt': 'test'}},
      'data.mixture': {'a': {'weight': 1, 'seq_len': -1}},
    }
  )
  assert "eval.sets.mine.splt: unknown key; did you mean 'split'?" in text
  assert 'data.mixture.a.seq_len=-1: expected at least 1' in text


def test_names_of_plugins_are_checked_and_may_be_imports():
  registries = {'attention.kernel': KERNELS}
  with pytest.raises(ConfigError, match="attention.kernel='dens'.*mean 'dense'"):
    load.resolve(small.base_config(), {'attention.kernel': 'dens'}, registries)
  outside = 'gpt_jax.attention.dense:attend'
  config = load.resolve(small.base_config(), {'attention.kernel': outside}, registries)
  assert config.attention.kernel == outside


# What comes out


def test_none_is_filled_in_from_other_fields():
  config = small.resolve(model__dropout=0.1, model__residual_dropout=0.0, seed=7)
  model = config.model
  assert (model.num_kv_heads, model.head_dim, model.d_ff) == (4, 4, 64)
  assert model.max_seq_len == 8
  assert (model.embed_dropout, model.attention_dropout) == (0.1, 0.1)
  assert model.residual_dropout == 0.0
  assert config.data.seed == 7
  assert config.eval.batch_size == config.train.batch_size


def test_given_values_are_kept():
  config = small.resolve(
    model__num_kv_heads=2, model__head_dim=10, model__d_ff=7, model__max_seq_len=99,
    data__seed=3, eval__batch_size=5,
  )  # fmt: skip
  model = config.model
  assert (model.num_kv_heads, model.head_dim, model.d_ff) == (2, 10, 7)
  assert (model.max_seq_len, config.data.seed, config.eval.batch_size) == (99, 3, 5)


@pytest.mark.parametrize('d_model,d_ff', [(48, 128), (64, 176), (4096, 10928)])
def test_a_gated_mlp_is_two_thirds_as_wide(d_model, d_ff):
  cfg = small.model_config(d_model=d_model, activation='swiglu')
  assert cfg.d_ff == d_ff
  assert 0 <= cfg.d_ff - 8 / 3 * d_model < 8


def test_a_config_survives_json_and_comes_back_equal():
  config = small.resolve(
    model__layer_pattern=('global', 'local:4'), parallel__overrides={'mlp': None},
    optimizer__groups=({'match': 'bias', 'weight_decay': 0.0},),
    data__mixture={'a': {'weight': 2, 'source': 'uniform'}},
  )  # fmt: skip
  text = json.dumps(load.to_dict(config))
  assert load.resolve(json.loads(text)) == config
  assert load.resolve(ConfigDict(json.loads(text))) == config


def test_a_data_override_changes_only_what_it_names():
  data = small.resolve().data
  part = load.data_section(
    data, {'split': 'test', 'weight': 3.0, 'generator.order': 1}, 'eval.sets.test'
  )
  assert (part.split, part.generator.order) == ('test', 1)
  assert load.data_section(data, {}, 'eval.sets.same') == data
  with pytest.raises(ConfigError, match='eval.sets.test.splt: unknown'):
    load.data_section(data, {'splt': 'test'}, 'eval.sets.test')


def test_a_wrong_value_hides_only_conflicts_it_is_part_of():
  message = problem(
    **{
      'train.batch_size': '2.5',
      'model.num_kv_heads': '3',
      'model.layer_pattern': 'global,wide',
    }
  )
  lines = [line.strip() for line in message.splitlines()[1:]]
  # Not train.grad_accum, which only 2.5 made wrong.
  assert [line.split('=')[0].split(':')[0] for line in lines] == [
    'train.batch_size', 'model.num_kv_heads', 'model.layer_pattern',
  ]  # fmt: skip
