"""Hostile values for every field of every shipped config, and what comes of them.

`validate(values, field, value)` resolves the config, `run(field, value)` trains a step.
Both return an outcome: 'refused' (a UserError that names the field), 'unnamed' (one
that does not), 'diverged', 'passed', 'trained' or 'bug'.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import tempfile
import traceback

from gpt_jax.config.files import load_file
from gpt_jax.config.schema import Config
from gpt_jax.core.errors import DivergedError, UserError
from gpt_jax.program import setup
from gpt_jax.train import loop
from tests import tiny_runs
from tests.config.test_shipped import SPECS

HUGE = 2**62
VALUES = {
  'list': [1, 'a'], 'dict': {'a': 1}, 'text': 'zzz', 'true': True, 'none': None,
  'zero': 0, 'negative': -1, 'negative float': -0.5, 'float': 1.5, 'huge': HUGE,
  'too huge': 2**200, 'huge float': 1e308, 'tiny float': 5e-324, 'nan': math.nan,
  'infinity': math.inf, 'empty': '', 'path': '/etc/passwd', 'up': '../../../etc',
  'zero byte': 'a\0b', 'module': 'no_such_package:thing',
  'nested': {'a': {'b': [None]}},
  'long text': 'x' * 100_000, 'long name': 'x' * 4000,
}  # fmt: skip
"""What is put into each field; as Python values, and as text of the command line."""
BUGS = ('unnamed', 'bug')


def fields(cls=Config, prefix=''):
  """Returns the dotted names of all fields."""
  names = []
  for field in dataclasses.fields(cls):
    if dataclasses.is_dataclass(field.type):
      names += fields(field.type, f'{prefix}{field.name}.')
    else:
      names.append(prefix + field.name)
  return names


def validate(values, field, value):
  """Returns (outcome, message) of a config's `values` with `field` set to `value`."""
  return _outcome(field, lambda: _resolve(values, field, value), 'passed')


def run(field, value):
  """Returns (outcome, message) of training the small run of the tests for a step."""
  # A valid value is no reason to train for two days, or to fill a disk.
  short = {'train.steps': 1, 'eval.max_batches': 1, 'logging.sample_tokens': 1}
  short = {name: number for name, number in short.items() if name != field}

  def train():
    # Deep inside: what is relative, also upwards, must not land elsewhere.
    with tempfile.TemporaryDirectory() as folder, _inside(folder, 'a/b/c/d'):
      text = pathlib.Path(folder) / 'words.txt'
      text.write_text(tiny_runs.words(20_000))
      link = pathlib.Path(folder) / 'link'
      outside = pathlib.Path(folder) / 'outside'
      outside.mkdir()
      link.symlink_to(outside)
      made = str(link) if value == 'link' else value
      reading = tiny_runs.TEXT | {'data.path': str(text)} | short
      config = tiny_runs.tiny_config(reading | {field: made})
      setup.check_plan(config)
      loop.train(config, pathlib.Path(folder) / 'run', quiet=True)

  return _outcome(field, train, 'trained')


@contextlib.contextmanager
def _inside(folder, below):
  place, before = pathlib.Path(folder) / below, os.getcwd()
  place.mkdir(parents=True)
  os.chdir(place)
  try:
    yield
  finally:
    os.chdir(before)


def shipped():
  """Returns `{spec: nested values}` of all configs."""
  return {spec: load_file(spec).to_dict() for spec in SPECS}


def _resolve(values, field, value):
  config = setup.resolve(values, {field: value})
  setup.check_plan(config)


def _outcome(field, act, good):
  try:
    act()
  except DivergedError as error:
    return 'diverged', str(error)
  except UserError as error:
    # `parallel.mesh` is named by its entry, `data` by an eval set that inherits it.
    is_named = field in str(error) or field.split('.')[-1] in str(error)
    return 'refused' if is_named else 'unnamed', str(error)
  except Exception:  # the finding that this file is for
    return 'bug', traceback.format_exc(limit=-4)
  return good, ''
