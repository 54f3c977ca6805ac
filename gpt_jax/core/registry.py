"""Tables of plug-ins: a dict per folder, or `"my_pkg.my_file:make"` from outside."""

import difflib
import importlib
import sys

from gpt_jax.core.errors import ConfigError


def nearest(name, known):
  """Returns the closest of `known` to a misspelt `name`, or None."""
  found = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
  return found[0] if found else None


def choose(table, name, field):
  """Returns `table[name]`; raises ConfigError with the choices and the nearest name."""
  if name in table:
    return table[name]
  hint = nearest(name, table)
  raise ConfigError(
    f'{field}={name!r}: expected one of {", ".join(table)}'
    + (f'; did you mean {hint!r}?' if hint else '.')
  )


def lookup(table, name, field):
  """Returns `table[name]`, or imports `name` when it is written `package.module:attr`.

  Raises ConfigError naming `field`, the value, what is known and the nearest name, and
  for modules of Python itself, which hold no plug-ins but much that does harm.
  """
  if name in table:
    return table[name]
  if ':' in str(name):
    module_name, _, attribute = name.partition(':')
    # A config.json from elsewhere names plug-ins too, and `os:system` is none.
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
  hint = nearest(name, table)
  raise ConfigError(
    f'{field}={name!r}: expected one of {sorted(table)} or "package.module:attribute"'
    + (f'; did you mean {hint!r}?' if hint else '.')
  )
