"""Config files are found by name or path, and their mistakes by line."""

import json

import pytest

from gpt_jax import configs
from gpt_jax.config import load
from gpt_jax.config.files import find, is_config, load_file
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup


def write(tmp_path, body):
  path = tmp_path / 'my_config.py'
  path.write_text(body)
  return str(path)


@pytest.mark.parametrize('package', ['gpt_jax.configs', 'configs'])
def test_a_users_config_starts_from_a_shipped_one(tmp_path, package):
  path = write(
    tmp_path,
    f'from {package} import base\n'
    'def get_config(layers="2"):\n'
    '  config = base.get_config()\n'
    '  config.model.num_layers = int(layers)\n'
    '  return config\n',
  )
  assert load_file(path).model.num_layers == 2
  assert load_file(path + ':6').model.num_layers == 6


@pytest.mark.parametrize('name', ['tiny', 'tiny.py', 'configs/tiny', 'configs/tiny.py'])
def test_a_shipped_config_is_found_from_any_folder(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  assert load_file(name).tokenizer.name == 'bpe'
  assert load_file('gpt2:355m').model.num_layers == 24


def test_a_users_file_wins_over_a_shipped_one_by_its_path(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'configs').mkdir()
  mine = tmp_path / 'configs' / 'tiny.py'
  mine.write_text('')
  assert find('configs/tiny.py') == 'configs/tiny.py'
  assert find(str(mine)) == str(mine)
  assert find('tiny') == str(configs.FOLDER / 'tiny.py')


def test_a_run_stands_for_the_config_it_was_made_with(tmp_path):
  config = setup.resolve(load_file('tiny'), {'train.steps': 7})
  values = load.to_dict(config)
  del values['data']['begin_token']  # as an older version has saved it
  (tmp_path / 'config.json').write_text(json.dumps(values))
  assert setup.resolve(load_file(str(tmp_path))) == config
  changed = setup.resolve(load_file(f'{tmp_path}/'), {'train.steps': '9'})
  assert changed.train.steps == 9 and is_config(str(tmp_path))


@pytest.mark.parametrize(
  'content, message',
  [
    ('{"model_type": "bert"}', 'gpt-jax import .* makes a run of it'),
    ('{"model": 3}', 'is not the config of a run'),
    ('{', 'cannot be read'),
  ],
)
def test_a_folder_that_is_no_run_says_what_it_is(content, message, tmp_path):
  (tmp_path / 'config.json').write_text(content)
  with pytest.raises(ConfigError, match=message):
    load_file(str(tmp_path))


def test_every_shipped_config_has_a_name():
  assert {'base', 'tiny', 'gpt2', 'llama'} <= set(configs.names())


def test_a_loaded_config_is_locked():
  with pytest.raises(AttributeError, match='locked'):
    load_file('configs/base.py').model.num_layer = 3


@pytest.mark.parametrize(
  'body,words',
  [
    ('def get_config(:', 'SyntaxError.*line 1'),
    ('import no_such_module', 'no_such_module.*line 1'),
    ('x = 1', 'defines no get_config'),
    ('def get_config():\n  return 1 / 0', r'division by zero \(line 2\)'),
    ('def get_config():\n  return 3', 'returned int; expected a ConfigDict'),
    ('def get_config(size):\n  return size', "argument: 'size'"),
    (
      'from configs import base\ndef get_config():\n  config = base.get_config()\n'
      '  config.model.num_layer = 3\n  return config',
      r'"num_layer" .*Did you mean "num_layers".*line 4',
    ),
  ],
)
def test_errors_in_a_config_file_name_their_line(tmp_path, body, words):
  path = write(tmp_path, body)
  with pytest.raises(ConfigError, match=f'--config={path}: .*{words}') as caught:
    load_file(path)
  assert 'Other fields' not in str(caught.value)


@pytest.mark.parametrize('spec', ['tinny', 'tiny2.py:7b', 'configs/tinyy.py'])
def test_an_unknown_config_lists_the_shipped_ones(spec):
  with pytest.raises(ConfigError) as caught:
    load_file(spec)
  text = str(caught.value)
  assert text.startswith(f'--config={spec}: no such file; expected a path')
  assert all(name in text for name in configs.names())
  assert text.endswith("did you mean 'tiny'?")
