"""The records of a split: from its own files, or a part of files of several.

Files of `all` are divided into 70 % train, 15 % validation, 15 % test, those of
`train+validation` into 85 % and 15 %, by a hash of what a model reads of an example, so
that copies of a text, in any case and spacing, belong to one split. `by_time` divides
70 : 15 : 15 what each user did, the first of it for training: what comes next is to be
predicted, of users whom training knows. What others did later than that may be in
training.
"""

import dataclasses
import hashlib
import math

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.registry import nearest
from gpt_jax.examples import fields, finding, formats, reading
from gpt_jax.examples.record import shown, there_are, value

BOUNDS = {'train': (0.0, 0.7), 'validation': (0.7, 0.85), 'test': (0.85, 1.0)}
DIVIDED = {
  'all': BOUNDS,
  'by_time': BOUNDS,
  'train+validation': {'train': (0.0, 0.85), 'validation': (0.85, 1.0)},
}
"""Name of files that are divided -> the shares that each split takes, of 0 to 1."""
NAMES = (*BOUNDS, *DIVIDED)
"""What files may be of: one split, or several."""
OTHER_NAMES = dict.fromkeys(('dev', 'val', 'valid', 'eval'), 'validation')
"""What splits are called elsewhere -> their name here, for messages."""
_SEED = b'examples'  # of the order that `limit` takes


def load(files, reader, columns, split, *, data_dir='', encoding='utf-8', limit=None):
  """Returns the Records of a split, at least one, in the order of the files.

  Args:
    files: {split: path, or list of paths}; those of `DIVIDED` are divided into splits:
      {'all': path}, {'by_time': path}, or {'train+validation': path, 'test': path}.
      Relative paths are looked up as `finding.find` says.
    reader: a name of `READERS`, 'auto', or `package.module:function`.
    columns: {field: key of the record, or list of keys for a list}; {}: the fields are
      those that the reader gives. With columns, a record has just these fields.
    split: train, validation or test; or the name of files that are divided, for all.
    limit: of that many records at most; which ones follows from their number alone, and
      a larger limit keeps those of a smaller one.

  Raises ConfigError for splits, readers and columns that there are not, DataError for
  files that are missing, damaged or without an example. Within `reading.reading_once`
  files are read once for all splits.
  """
  found = reading.once(
    _load, files=dict(files), split=split, reader=reader, columns=dict(columns),
    data_dir=data_dir, encoding=encoding,
  )  # fmt: skip
  return found if limit is None else _first(found, limit)


def _load(files, split, **how):
  """Returns the Records of a split; `how`: as `read` takes it."""
  names, divided = _names(files, split)
  found = everything = reading.once(read, names=names, **how)
  if divided == 'by_time':
    found = _of_time(split, everything)
  elif divided:
    low, high = DIVIDED[divided][split]
    places = zip(everything, _shares(everything), strict=True)
    found = [record for record, place in places if low <= place < high]
  if not found:
    count = len(everything)
    rest = f': none of {count} examples lies in it; give files for each split' * (
      count > 0
    )
    raise DataError(
      f'task.files: {", ".join(names)}: no examples of the split {split!r}{rest}.'
    )
  return found


def read(names, reader, columns, *, data_dir='', encoding='utf-8'):
  """Yields the Records of files, with the fields of `columns`, each of them checked."""
  read_files, paths = opened(names, reader, data_dir)
  for record in read_files(paths, encoding):
    if columns:
      record = dataclasses.replace(record, values=fields_of(record, columns))
    fields.check(record.values, record.place)
    yield record


def opened(names, reader, data_dir):
  """Returns (`read(paths, encoding)`, its paths) for the names of files."""
  read_files = formats.reader_for(names, reader)
  if not getattr(read_files, 'takes_names', False):
    return read_files, finding.find(names, data_dir)

  def read_names(paths, encoding):
    return read_files(paths, encoding, data_dir)

  return read_names, list(names)


def holder(files, split):
  """Returns the name in `files` of those that a split is in, None for none."""
  held = [name for name, parts in DIVIDED.items() if split in parts]
  return next((name for name in (split, *held) if files.get(name)), None)


def _names(files, split):
  """Returns (paths of a split as given, name of the files to take a part of, or '')."""
  for name in (*files, split):
    if name not in NAMES:
      hint = OTHER_NAMES.get(name) or nearest(name, NAMES)
      raise ConfigError(
        f'task.files: {name!r} is no split; expected one of {", ".join(NAMES)}'
        + (f'; did you mean {hint!r}?' if hint else '.')
      )
  for name, parts in DIVIDED.items():
    if name in files and not files.keys().isdisjoint({*parts, *DIVIDED} - {name}):
      rest = f'{name} alone' if len(parts) == len(BOUNDS) else f'{name} and test'
      raise ConfigError(
        f'task.files: {", ".join(files)}: expected files for each split, or {rest}.'
      )
  name = holder(files, split)
  if name is None:
    raise ConfigError(
      f'task.files: no files of the split {split!r}; there are'
      f' {", ".join(files) or "none"}. Give them, or all=PATH to divide one set.'
    )
  names = [files[name]] if isinstance(files[name], str) else list(files[name])
  return names, '' if name == split else name


def _shares(records):
  """Returns where in 0 to 1 each record falls: a hash of the first of its copies.

  First in the order of their texts as they are: most have no copy in another case, and
  are where their own hash says.
  """
  texts = [fields.group_texts(record) for record in records]
  first = {}
  for exact, folded in texts:
    first[folded] = min(exact, first.get(folded, exact))
  return [fields.share(first[folded]) for _, folded in texts]


def _of_time(split, records):
  """Returns the part of each user's records, which come in order, that are in time."""
  low, high = BOUNDS[split]
  of_user = {}
  for number, record in enumerate(records):
    user = value(record.values, 'user', record.place)
    time = value(record.values, 'timestamp', record.place)
    try:
      of_user.setdefault(user, []).append((float(time), number))
    except (TypeError, ValueError) as error:
      raise DataError(
        f'{record.place}: timestamp={shown(time)}; expected a number (task.columns).'
      ) from error
  chosen = []
  for ratings in of_user.values():
    times = sorted(time for time, _ in ratings)
    # What happened at one time stays together, in the later split.
    start, end = (
      times[place] if (place := round(bound * len(times))) < len(times) else math.inf
      for bound in (low, high)
    )
    chosen += [number for time, number in ratings if start <= time < end]
  return [records[number] for number in sorted(chosen)]


def _first(records, limit):
  def rank(i):
    return hashlib.sha256(_SEED + str(i).encode()).digest()

  chosen = sorted(range(len(records)), key=rank)[:limit]
  return [records[i] for i in sorted(chosen)]


class NoColumn(DataError):
  """A record without a column that task.columns names, for `field`."""

  def __init__(self, text, field=''):
    super().__init__(text)
    self.field = field


def fields_of(record, columns):
  """Returns {field: value} by `columns` of `load`; NoColumn for one not there."""
  found = {}
  for field, key in columns.items():
    if isinstance(key, str):
      one = _column(record, field, key)
      is_target = field == 'targets' and isinstance(one, str)
      found[field] = [one] if is_target else one
    else:
      found[field] = [_column(record, field, each) for each in key]
  return found


def _column(record, field, key):
  values = record.values
  if key in values:
    return values[key]
  if values and all(name.isdigit() for name in values):  # of a table without a header
    if key in values.values():
      hint = ' The first line has it: set task.reader=tsv_header or csv_header.'
    else:
      hint = (
        f' Columns are numbers: the first has {shown(next(iter(values.values())))}.'
      )
  else:
    hint = ''
  raise NoColumn(
    f'task.columns: {field}={key!r}: {record.place} has no such column;'
    f' {there_are(key, values)}.{hint}',
    field,
  )
