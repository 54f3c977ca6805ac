"""Registries of plug-ins: one dict each, or `"my_pkg.my_file:make"` from outside."""

import difflib
import importlib
import os
import sys
import traceback

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import NoOptions


def nearest(name, known):
  """Returns the closest of `known` to a misspelt `name`, or None."""
  found = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
  return found[0] if found else None


def choose(registry, name, field):
  """Returns `registry[name]`; raises ConfigError with choices and the nearest name."""
  if name in registry:
    return registry[name]
  raise _unknown(registry, name, field, ', '.join(registry))


def entry(*, options: type = NoOptions, problems=None):
  """Returns a decorator for an entry with config fields or rules of its own.

  Args:
    options: a `sections.section`; its fields stand in the `options` of the config
      section that picks the entry, which reads them as `cfg.options.NAME`.
    problems: a function from a Config, before its Nones are filled in, to the
      `errors.Problem`s that the entry has with it.
  """

  def declare(make):
    make.options, make.problems = options, problems
    return make

  return declare


def lookup(registry, name, field):
  """Returns `registry[name]`, or imports a `name` such as `package.module:attribute`.

  Raises ConfigError with the choices and the nearest name, or with what failed.
  """
  if name in registry:
    return registry[name]
  if ':' not in str(name):
    known = ', '.join(key or "''" for key in sorted(registry))
    expected = f'{known} or {_PLUGIN}'
    raise _unknown(registry, name, field, expected)
  module_name, _, attribute = name.partition(':')
  if not module_name:
    raise ConfigError(f'{field}={name!r}: names no module; expected {_PLUGIN}.')
  # A config.json from elsewhere may name `os:system`.
  if module_name.partition('.')[0] in sys.stdlib_module_names:
    raise ConfigError(
      f"{field}={name!r}: {module_name} is Python's own; expected {_PLUGIN} of a"
      ' plug-in.'
    )
  module = _import(module_name, f'{field}={name!r}')
  try:
    return getattr(module, attribute)
  except AttributeError:
    own = [key for key in vars(module) if not key.startswith('_')]
    hint = nearest(attribute, own)
    raise ConfigError(
      f'{field}={name!r}: expected {_PLUGIN}, but {module.__file__} has no'
      f' {attribute!r}' + (f'; did you mean {hint!r}?' if hint else '.')
    ) from None


_PLUGIN = '"package.module:attribute"'


def _import(name, setting):
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
      raise ConfigError(
        f'{setting}: {name} needs the module {error.name!r}, which is not installed.'
      ) from error
    raise ConfigError(
      f'{setting}: no module {error.name!r} here; expected {_PLUGIN} with the module in'
      f' {os.getcwd()}, or in a folder of PYTHONPATH.'
    ) from error
  except Exception as error:  # whatever the plug-in's own code raises is for its author
    frames = traceback.extract_tb(error.__traceback__)
    raise ConfigError(
      f'{setting}: cannot import it: {type(error).__name__}: {error}'
      f' ({frames[-1].filename}, line {frames[-1].lineno}).'
    ) from error


def _unknown(registry, name, field, expected):
  hint = nearest(name, registry)
  return ConfigError(
    f'{field}={name!r}: expected one of {expected}'
    + (f'; did you mean {hint!r}?' if hint else '.')
  )
