"""Registries of plug-ins: one dict each, or `"my_pkg.my_file:make"` from outside."""

import difflib
import importlib
import sys

from gpt_jax.core.errors import ConfigError


def nearest(name, known):
  """Returns the closest of `known` to a misspelt `name`, or None."""
  found = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
  return found[0] if found else None


def choose(registry, name, field):
  """Returns `registry[name]`; raises ConfigError with choices and the nearest name."""
  if name in registry:
    return registry[name]
  raise _unknown(registry, name, field, ', '.join(registry))


def lookup(registry, name, field):
  """Returns `registry[name]`, or imports a `name` such as `package.module:attribute`.

  Raises ConfigError with the choices and the nearest name.
  """
  if name in registry:
    return registry[name]
  if ':' not in str(name):
    expected = f'{sorted(registry)} or "package.module:attribute"'
    raise _unknown(registry, name, field, expected)
  module_name, _, attribute = name.partition(':')
  # A config.json from elsewhere may name `os:system`.
  if module_name.partition('.')[0] in sys.stdlib_module_names:
    raise ConfigError(
      f"{field}={name!r}: {module_name} is Python's own; expected"
      ' "package.module:attribute" of a plug-in.'
    )
  try:
    return getattr(importlib.import_module(module_name), attribute)
  except (ImportError, AttributeError, ValueError) as error:
    raise ConfigError(
      f'{field}={name!r}: cannot import it ({error}); expected'
      ' "package.module:attribute" importable from here.'
    ) from error


def _unknown(registry, name, field, expected):
  hint = nearest(name, registry)
  return ConfigError(
    f'{field}={name!r}: expected one of {expected}'
    + (f'; did you mean {hint!r}?' if hint else '.')
  )
