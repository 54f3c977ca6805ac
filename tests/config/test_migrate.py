"""Configs that earlier versions saved are read; people are told the new names."""

import copy
import json

import pytest

from configs import base
from gpt_jax.config import load, migrate
from gpt_jax.config.files import load_file
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.workdir.paths import Workdir
from tests import small_models as small

NEW = migrate.RENAMED_FIELDS


def old_values():
  """Returns base.py's values as the first edition saved them."""
  values = json.loads(json.dumps(load.to_dict(small.resolve())))
  for old, new in NEW.items():
    section, name = old.split('.')
    values[section][name] = values[section].pop(new.split('.')[1])
  values['model']['layer_pattern'] = ['local:4', 'dense']
  values['data']['mixture'] = {'a': {'weight': 1, 'stall_seconds': 9.0}}
  values['eval']['sets']['v. 1'] = {'skip_corrupt': 3, 'generator.order': 1}
  return values


def test_a_saved_config_is_read_under_new_names():
  old = old_values()
  before = copy.deepcopy(old)
  config = load.resolve(migrate.read_saved(old, 'runs/a'))
  assert old == before
  assert config.model.layer_pattern == ('local:4', 'global')
  assert config.data.mixture == {'a': {'weight': 1, 'timeout_seconds': 9.0}}
  assert config.eval.sets['v. 1'] == {'max_corrupt_records': 3, 'generator.order': 1}
  assert config.optimizer.decay_mask == 'matrices'


def test_the_mixture_of_an_eval_set_is_read_under_new_names():
  part = {'weight': 1, 'stall_seconds': 9.0}
  saved = {'eval': {'sets': {'v': {'mixture': {'a': part, 'b': 3}}}}}
  mixture = migrate.read_saved(saved, 'runs/f')['eval']['sets']['v']['mixture']
  assert mixture == {'a': {'weight': 1, 'timeout_seconds': 9.0}, 'b': 3}


def test_every_change_is_printed_once(capsys):
  for _ in range(2):
    migrate.read_saved(old_values(), 'runs/b')
  said = capsys.readouterr().err.splitlines()
  assert said[0] == 'runs/b: its config was saved by an earlier version:'
  assert said[1:] == [
    *(f'  {old} -> {new}' for old, new in NEW.items()),
    '  eval.sets.v. 1.skip_corrupt -> max_corrupt_records',
    '  data.mixture.a.stall_seconds -> timeout_seconds',
    "  model.layer_pattern: 'dense' -> 'global'",
  ]


def test_a_config_of_this_version_is_left_alone(capsys):
  values = load.to_dict(small.resolve())
  assert migrate.read_saved(values, 'runs/c') == values
  assert capsys.readouterr().err == ''


def test_a_field_added_since_means_as_before(monkeypatch, capsys):
  monkeypatch.setattr(migrate, 'ADDED_FIELDS', {'seed': 1, 'lora.rank': 0})
  assert migrate.read_saved({'seed': 5}, 'runs/d') == {'seed': 5, 'lora': {'rank': 0}}
  assert 'new since then, and as before: lora.rank=0' in capsys.readouterr().err


def test_sections_of_another_kind_are_left_to_the_loader():
  values = {'data': 3, 'eval': {'sets': ['a']}, 'model': {'layer_pattern': {}}}
  read = migrate.read_saved(values, 'runs/e')
  added = {
    field.removeprefix('eval.'): value
    for field, value in migrate.ADDED_FIELDS.items()
    if field.startswith('eval.')
  }
  assert (read['data'], read['eval']) == (3, {'sets': ['a']} | added)
  assert read['model']['layer_pattern'] == {}


def test_config_json_is_read_under_new_names(tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(old_values()))
  assert 'decay_mask' in Workdir(tmp_path).read_config()['optimizer']


@pytest.mark.parametrize('text', ['[]', '3', 'null'])
def test_config_json_that_holds_no_config_is_an_error(tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(CheckpointError, match='config.json holds no config'):
    Workdir(tmp_path).read_config()


def test_new_names_are_fields_and_old_names_are_none():
  values = load.to_dict(small.resolve())
  for old, new in NEW.items():
    section, name = new.split('.')
    assert name in values[section]
    assert old.split('.')[1] not in values[old.split('.')[0]]


def refusal(act):
  with pytest.raises(ConfigError) as caught:
    act()
  return str(caught.value)


@pytest.mark.parametrize('old', NEW)
def test_an_override_by_an_old_name_says_the_new(old):
  text = refusal(lambda: load.resolve(base.get_config(), {old: '3'}))
  assert text.startswith('1 problem(s)')
  assert f'{old}: renamed; it is {NEW[old]} now' in text


@pytest.mark.parametrize(
  'use', ['.{1} = 3', '.update({1}=3)', '.get_ref("{1}")', '.{1}']
)
@pytest.mark.parametrize('old', NEW)
def test_an_old_name_in_a_config_file_says_the_new(tmp_path, old, use):
  path = tmp_path / 'mine.py'
  section, name = old.split('.')
  path.write_text(
    'from configs import base\n'
    'def get_config():\n'
    f'  base.get_config().{section}{use.format(section, name)}\n'
  )
  text = refusal(lambda: load_file(str(path)))
  assert text == f'--config={path}: {old}: renamed; it is {NEW[old]} now (line 3)'


def test_an_old_field_of_a_dict_says_the_new():
  values = load.to_dict(small.resolve())
  values['data']['skip_corrupt'] = 3
  text = refusal(lambda: load.resolve(values))
  assert 'data.skip_corrupt: renamed; it is data.max_corrupt_records now' in text


def test_an_old_name_in_an_eval_set_says_the_new():
  sets = {'eval.sets': {'mine': {'skip_corrupt': 1}}}
  text = refusal(lambda: load.resolve(base.get_config(), sets))
  assert 'eval.sets.mine.skip_corrupt: renamed; it is max_corrupt_records now' in text


@pytest.mark.parametrize('pattern', ['dense', 'local:4,dense'])
def test_an_old_layer_name_says_the_new(pattern):
  layers = {'model.layer_pattern': pattern}
  text = refusal(lambda: load.resolve(base.get_config(), layers))
  assert text.startswith('1 problem(s)')
  assert "model.layer_pattern: 'dense' was renamed; it is 'global' now" in text
