"""Which reader files are for: the one that is named, or that of their ending."""

from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import lookup, nearest
from gpt_jax.examples import READERS

ENDINGS = {
  '.tsv': 'tsv',
  '.csv': 'csv',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.txt': 'lines',
}
"""Ending, also before .gz -> reader. Tables have no header: `tsv_header` is a name."""


def reader_for(paths, name) -> Any:
  """Returns the reader `name`, for 'auto' that of the endings of `paths`.

  `name` may be `package.module:function` of a plug-in. Raises ConfigError for an
  unknown name or ending, and for endings of several readers.
  """
  if name != 'auto':
    return lookup({'auto': None} | READERS, name, 'task.reader')
  for path in paths:
    if _ending(path) not in ENDINGS:
      hint = nearest(_ending(path), ENDINGS)
      raise ConfigError(
        f'task.reader=auto: no reader is known for the ending of {path}; endings are'
        f' {", ".join(ENDINGS)}'
        + (f' (did you mean {hint}?)' if hint else '')
        + f'. Set task.reader to one of {", ".join(READERS)}.'
      )
  found = sorted({ENDINGS[_ending(path)] for path in paths})
  if len(found) != 1:
    raise ConfigError(
      f'task.reader=auto: the endings of {", ".join(map(str, paths))} stand for'
      f' several readers ({", ".join(found)}); set task.reader to one of them.'
    )
  return READERS[found[0]]


def _ending(path):
  name = str(path).rpartition('/')[2].removesuffix('.gz').lower()
  return '.' + name.rpartition('.')[2] if '.' in name else ''
