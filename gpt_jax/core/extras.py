"""Packages of extras, imported where they are needed."""

import importlib

from gpt_jax.core.errors import ConfigError, require_extra


def load(module, *, extra, package, use):
  """Returns the imported `module` of an optional `package`.

  Raises ConfigError, naming the `use` and the `extra` to install, where it is missing.
  """
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    # A package that is here and lacks one of its own needs names that one.
    missing = package if module.startswith(str(error.name)) else error.name
    raise ConfigError(f'{use} {require_extra(extra, missing)}.') from error
