"""`--method=NAME:option=value:option=value` of the command line."""

import re
from typing import Any

from gpt_jax.compress import METHODS
from gpt_jax.config import options
from gpt_jax.core.errors import Problem, require_none
from gpt_jax.core.registry import lookup
from gpt_jax.core.sections import NoOptions

# A name may be a plug-in's, `package.module:attribute`, and a value a path.
_NEXT_OPTION = re.compile(r':(?=\w+=)')


def parse(text) -> tuple[str, Any, Any]:
  """Returns (name, entry of METHODS, its options) of the value of `--method`.

  Raises ConfigError for an unknown method or option, or a value out of range.
  """
  name, *given = _NEXT_OPTION.split(text)
  entry = lookup(METHODS, name, '--method')
  where, problems = f'--method={name}', []
  pairs = dict(each.split('=', 1) for each in given)
  overrides = {f'{where}.{option}': value for option, value in pairs.items()}
  declared = getattr(entry, 'options', NoOptions)
  made = options.make({}, overrides, declared, where, where, problems)
  # As it was typed.
  require_none(
    [Problem(p.field.replace(f'{where}.', f'{where}:'), p.text) for p in problems]
  )
  return name, entry, made
