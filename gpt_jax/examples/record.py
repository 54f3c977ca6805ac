"""A record: what a reader gives for one example, and where it stands."""

import dataclasses
from typing import Any

from gpt_jax.core.errors import DataError
from gpt_jax.core.registry import nearest


@dataclasses.dataclass(frozen=True)
class Record:
  """One example as its file has it."""

  values: dict[str, Any]
  place: str
  """`sst2/dev.tsv, line 12`; messages begin with it."""
  lines: tuple[str, int] | None = None
  """(File, line of the first) of words that stand on a line each; None: they do not."""

  def place_of(self, number):
    """Returns where one of its words stands, by its number from 0."""
    if self.lines is None:
      return self.place
    path, first = self.lines
    return f'{path}, line {first + number}'


def value(values, key, place, kind: Any = object) -> Any:
  """Returns `values[key]`; DataError, naming `place`, unless it is there and a `kind`.

  `kind` is a class, or several.
  """
  if key not in values:
    raise DataError(f'{place}: no {key!r}; {there_are(key, values)}.')
  found = values[key]
  is_flag = isinstance(found, bool) and kind is int
  if is_flag or not isinstance(found, kind):
    raise DataError(
      f'{place}: {key!r} is {shown(found)}; expected {_KINDS.get(kind, kind)}.'
    )
  return found


_KINDS = {
  str: 'text',
  list: 'a list',
  dict: 'an object',
  int: 'a whole number',
  (str, int): 'text or a whole number',
}


def there_are(key, known):
  """Returns which names there are, and which of them may be meant by `key`."""
  listed = ', '.join(repr(name) for name in known) or 'none'
  hint = nearest(key, known)
  return f'there are {listed}' + (f'; did you mean {hint!r}?' if hint else '')


def shown(found, length=60):
  """Returns a value as messages show it: its start."""
  text = repr(found)
  return text if len(text) <= length else f'{text[:length]}...'
