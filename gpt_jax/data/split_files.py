"""Which files belong to a split: `train.txt valid.txt`, or `train/` and `valid/`.

The names of files and folders decide where they can; otherwise `splits.py` divides the
documents of all files. A file that is named as held-out is never divided in silence.
"""

import os
import pathlib
import re

from gpt_jax.core.errors import DataError, note_once

_WORDS = {
  'train': ('train', 'training'),
  'validation': ('validation', 'valid', 'val', 'dev', 'eval', 'evaluation'),
  'test': ('test', 'testing'),
}
_ABOUT = re.compile(
  r'(readme|licen[cs]e|copying|notice|citation|authors|changelog|changes)\b.*', re.I
)
"""Files beside a corpus that say something about it."""


def choose(paths, data):
  """Returns (the `paths` of `data.split`, whether their names decided).

  False: the documents of all `paths` are to be divided. What `data.split_by` may be is
  in `configs/base.py`. Raises DataError where names leave no file for the split, and
  for `auto` where some files are named as held-out and others not at all.
  """
  if data.split == 'all':
    return paths, False
  roles = _roles(paths)
  if data.split_by == 'content' or not _names_decide(paths, roles, data):
    return paths, False
  chosen = [path for path in paths if roles[path] in data.split.split('+')]
  if not chosen:
    raise DataError(
      f'data.split={data.split!r}: the files of data.path are named after other splits'
      f' ({_listed_roles(roles)}); choose one of these, add a {data.split} file, or set'
      ' data.split_by=content to divide all files.'
    )
  ignored = [path for path in paths if roles[path] is None]
  if ignored:
    note_once(
      f'data.path={data.path!r}: split by the names of files; {_listed(ignored)} not'
      ' read, as named after no split'
    )
  return chosen, True


def _names_decide(paths, roles, data):
  named = [path for path in paths if roles[path]]
  others = [path for path in paths if not roles[path]]
  if data.split_by == 'names':
    if not named:
      raise DataError(
        f'data.split_by=names: no file of data.path={data.path!r} is named after a'
        ' split, as train.txt, valid.txt and test.txt are.'
      )
    return True
  if len(paths) < 2 or not named:
    return False
  if not others:
    return True
  if set(roles.values()) <= {'train', None}:
    note_once(
      f'data.path={data.path!r}: {_listed(named)} named after a split,'
      f' {_listed(others)} not, and no file as held-out: all are divided 90/5/5 %'
      ' (data.split_by)'
    )
    return False
  if all(_ABOUT.fullmatch(path.name) for path in others):
    return True
  raise DataError(
    f'data.path={data.path!r}: some files are named after splits'
    f' ({_listed_roles(roles)}) and {_listed(others)} not. Set data.split_by=names to'
    ' leave these out, data.split_by=content to divide all files 90/5/5 %, or data.path'
    ' to a glob of those that you mean.'
  )


def _roles(paths):
  """Returns {path: its split or None}, by the folders below the common one, or name."""
  plain = {path: pathlib.Path(os.fspath(path).replace('://', '/', 1)) for path in paths}
  common = pathlib.Path(os.path.commonpath([path.parent for path in plain.values()]))
  return {
    path: next(
      (role for part in name.relative_to(common).parts[:-1] if (role := _role([part]))),
      _role(re.split(r'[._\-]+', name.name)),
    )
    for path, name in plain.items()
  }


def _role(words):
  for split, known in _WORDS.items():
    if any(word.lower() in known for word in words):
      return split
  return None


def _listed_roles(roles):
  named = [(path.name, role) for path, role in sorted(roles.items()) if role]
  more = f', and {len(named) - 6} more' if len(named) > 6 else ''
  return ', '.join(f'{name} is {role}' for name, role in named[:6]) + more


def _listed(paths):
  names = ', '.join(path.name for path in paths[:4])
  more = f' and {len(paths) - 4} more' if len(paths) > 4 else ''
  return f'{names}{more} {"is" if len(paths) == 1 else "are"}'
