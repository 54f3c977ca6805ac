"""Configs as a ConfigDict: a shipped file by its name, any by its path, or a run's."""

import json
import os
import pathlib
import re
import runpy
import sys
import traceback

from ml_collections import ConfigDict

from gpt_jax import configs
from gpt_jax.config.migrate import RENAMED_FIELDS, read_saved
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

SAVED = 'config.json'  # in the folder of a run
_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def load_file(spec):
  """Returns the ConfigDict of `NAME[:ARGUMENT]` or `path/to/config.py[:ARGUMENT]`.

  NAME is that of a shipped config, which `configs/NAME.py` means as well where there is
  no such file. A config starts from another one: `from gpt_jax.configs import base`; in
  a clone, `from configs import base` does the same. The folder of a run stands for the
  config that it was made with.
  """
  if os.path.isfile(os.path.join(spec, SAVED)):
    return _of_run(spec)
  name, *argument = spec.split(':', 1)
  path = find(name)
  if path is None:
    raise ConfigError(f'--config={spec}: {_unknown(name)}')
  importable = [str(_REPOSITORY)] if (_REPOSITORY / 'configs').is_dir() else []
  sys.path[:0] = importable
  try:
    module = runpy.run_path(path)
    if 'get_config' not in module:
      raise ConfigError('it defines no get_config(); see configs/base.py.')
    config = module['get_config'](*argument)
  except ConfigError as error:
    raise ConfigError(f'--config={spec}: {error}') from error
  except Exception as error:  # whatever the file's own code raises is for its author
    raise ConfigError(f'--config={spec}: {_cause(error, path)}') from error
  finally:
    for folder in importable:
      sys.path.remove(folder)
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f'--config={spec}: get_config() returned {type(config).__name__}; expected a'
      ' ConfigDict that starts from configs/base.py.'
    )
  return config.lock()


def _of_run(folder):
  path = os.path.join(folder, SAVED)
  try:
    with open(path, encoding='utf-8') as file:
      values = json.load(file)
  except (OSError, ValueError, RecursionError) as error:
    raise ConfigError(f'--config={folder}: {path} cannot be read: {error}') from error
  if isinstance(values, dict) and 'model_type' in values:
    raise ConfigError(
      f'--config={folder}: a pretrained model of others; `gpt-jax import {folder}'
      ' --workdir=RUN` makes a run of it, and --config=RUN is its config.'
    )
  if not isinstance(values, dict) or not isinstance(values.get('model'), dict):
    raise ConfigError(f'--config={folder}: {path} is not the config of a run.')
  return ConfigDict(read_saved(values, folder)).lock()


def find(name):
  """Returns the path of a config by shipped name or by path, None where none is."""
  shipped = name.removeprefix('configs/').removesuffix('.py')
  if name != shipped and os.path.isfile(name):
    return name
  if shipped in configs.names():
    return str(configs.FOLDER / f'{shipped}.py')
  if os.path.isfile(os.path.join(name, SAVED)):
    return name
  return name if os.path.isfile(name) else None


def is_shipped(spec):
  """Returns whether `spec` names a shipped config, with an argument or without."""
  name = spec.split(':', 1)[0]
  return name.removeprefix('configs/').removesuffix('.py') in configs.names()


def is_config(spec):
  """Returns whether `spec` is a shipped config or looks like a config file."""
  name = spec.split(':', 1)[0]
  return name.endswith('.py') or find(name) is not None


def _unknown(name):
  hint = nearest(pathlib.PurePath(name).stem, configs.names())
  return (
    f'no such file; expected a path to a .py file, or one of'
    f' {", ".join(configs.names())}' + (f'; did you mean {hint!r}?' if hint else '.')
  )


def _cause(error, path):
  """Returns what went wrong in the config file at `path`, and on which line."""
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == path]
  if isinstance(error, SyntaxError):
    lines = [error.lineno]
  place = f' (line {lines[-1]})' if lines else ''
  if frames and 'ml_collections' in frames[-1].filename:
    quoted = re.search(r'["\'](\w+)["\']', str(error))
    for old, new in RENAMED_FIELDS.items():
      if quoted and old.endswith(f'.{quoted[1]}'):
        return f'{old}: renamed; it is {new} now{place}'
  text = str(error.args[0]) if error.args else ''
  # ml_collections prints all fields of the section between the two useful sentences.
  text = re.sub(r'Other fields present: ".*?}"', '', text, flags=re.DOTALL)
  text = ' '.join(text.replace(r'\n', ' ').split())
  text = re.sub(r"^'(.*)'$", r'\1', text)  # str(KeyError) is a repr
  if isinstance(error, ModuleNotFoundError) and error.name == 'configs':
    text += '; shipped configs are imported by `from gpt_jax.configs import ...`'
  return f'{type(error).__name__}: {text}{place}'
