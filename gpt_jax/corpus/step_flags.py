"""`--step=NAME:field=value:field=value`: the quality steps of a command line."""

import dataclasses
import re
from typing import Any

from gpt_jax.config import options
from gpt_jax.core.errors import ConfigError, Problem, require_none
from gpt_jax.core.registry import lookup
from gpt_jax.core.sections import NoOptions
from gpt_jax.corpus import STEPS

# A name may be a plug-in's, `package.module:attribute`, and a value a URL.
_NEXT_FIELD = re.compile(r':(?=\w+=)')


@dataclasses.dataclass(frozen=True)
class ChosenStep:
  """A step by its name, with its options."""

  name: str
  options: Any

  def make(self, context):
    """Returns the `Step` or `GlobalStep`."""
    return lookup(STEPS, self.name, '--step')(self.options, context)

  def to_dict(self):
    return {'name': self.name, **dataclasses.asdict(self.options)}


def parse(texts):
  """Returns the ChosenSteps of the values of `--step`, in their order.

  Raises ConfigError of all that is wrong.
  """
  chosen, problems = [], []
  for text in texts:
    name, *fields = _NEXT_FIELD.split(text)
    if name.partition(':')[0] in STEPS and ':' in name:  # no plug-in
      wrong = name.partition(':')[2]
      problems.append(
        Problem(f'--step={text}', f': expected FIELD=VALUE, not {wrong!r}')
      )
      continue
    try:
      entry = lookup(STEPS, name, '--step')
    except ConfigError as error:
      problems.append(Problem('--step', str(error).removeprefix('--step').rstrip('.')))
      continue
    where = f'--step={name}'
    given = dict(field.split('=', 1) for field in fields)
    cls = getattr(entry, 'options', NoOptions)
    overrides = {f'{where}.{field}': value for field, value in given.items()}
    found = []
    made = options.make({}, overrides, cls, where, where, found)
    # As it was typed.
    problems += [
      Problem(one.field.replace(f'{where}.', f'{where}:'), one.text) for one in found
    ]
    chosen.append(ChosenStep(name, made))
  require_none(problems)
  return chosen


def make_steps(chosen, contexts):
  """Returns the steps of `chosen`. Raises ConfigError of all that cannot be made."""
  made, problems = [], []
  for one, context in zip(chosen, contexts, strict=True):
    try:
      made.append(one.make(context))
    except ConfigError as error:
      problems.append(str(error))
  if problems:
    raise ConfigError('\n'.join(problems))
  return tuple(made)
