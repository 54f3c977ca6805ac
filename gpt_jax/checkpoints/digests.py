"""Digests of a checkpoint step: written with it, compared before it is used.

digests.json in a step's folder lists every file with its size and the SHA-256 of each
part, where a part is one shard of one array, so that damage is named by array. It keeps
its own digest as well. SHA-256 runs at 1.5 GB/s a core where the processor has
instructions for it (0.7 without); CRC-32, at 2.3, would not do for published files.

The digests are those of the bytes on the disk right after they were written: whatever
changes afterwards is noticed. They are no signature: who can write digests.json can
also write other arrays.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import stat
from typing import Any

from gpt_jax.checkpoints import ocdbt, ocdbt_process
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.workdir import files as storage

FILE = 'digests.json'
PART = 'digests.process_{}.json'  # of the files that one process wrote of an item
ALGORITHM = 'sha256'
LATE = ('_CHECKPOINT_METADATA', 'commit_success.txt')
"""Files that Orbax writes into a step after its digests; nothing reads them."""

BLOCK_BYTES = 1 << 22
MAX_MANIFEST_BYTES = 1 << 28
MAX_LISTED = 10


@dataclasses.dataclass(frozen=True)
class Damage:
  """What is wrong with one file (path in the step) and, where known, which array."""

  file: str
  problem: str
  array: str = ''

  def __str__(self):
    return f'{self.file}{f" ({self.array})" if self.array else ""}: {self.problem}'


def describe(damages):
  """Returns the lines of an error: the first `damages`, then how many more."""
  lines = [f'  {damage}' for damage in damages[:MAX_LISTED]]
  rest = len(damages) - MAX_LISTED
  return '\n'.join([*lines, *([f'  ... and {rest} more'] if rest > 0 else [])])


# Writing


def write_part(item_folder, process):
  """Digests the files that `process` wrote of an item; `write_manifest` collects the result."""
  item_folder = pathlib.Path(item_folder)
  mine = f'process_{process}'
  files = [
    path
    for path in _files(item_folder)
    if any(part.endswith(mine) for part in path.relative_to(item_folder).parts)
  ]
  listed = _digest(
    item_folder, files, {f'ocdbt.{mine}/': item_folder / f'ocdbt.{mine}'}
  )
  storage.write_json(item_folder / PART.format(process), listed)


def require_parts(item_folder, processes):
  """Raises StorageError naming the first process whose part of an item is missing."""
  for process in range(processes):
    if not (item_folder / PART.format(process)).exists():
      raise StorageError(
        f'process {process} of {processes} could not write its part of'
        f' {item_folder.name}'
      )


def write_manifest(step_folder):
  """Writes digests.json of a step that is complete but not committed yet.

  Files that a process has digested are not read again. All files and folders are on the
  disk, not only in its cache, when this returns.
  """
  step_folder = pathlib.Path(step_folder)
  files = {}
  for item in sorted(path for path in step_folder.iterdir() if path.is_dir()):
    listed = {}
    for part in sorted(item.glob(PART.format('*'))):
      listed |= storage.read_json(part)
      part.unlink()
    rest = [p for p in _files(item) if str(p.relative_to(item)) not in listed]
    listed |= _digest(item, rest, {'': item})
    names = ocdbt.names(item)
    for path, entry in listed.items():
      for part in entry['parts']:
        part[2] = _label(item.name, [names.get(name, name) for name in part[2]])
      files[f'{item.name}/{path}'] = entry
  top = [
    p for p in step_folder.iterdir() if p.is_file() and p.name not in (FILE, *LATE)
  ]
  for path, entry in _digest(step_folder, top, {}).items():
    files[path] = entry | {'parts': [[*p[:2], '', p[3]] for p in entry['parts']]}
  storage.write_text(step_folder / FILE, _manifest_text(files))
  for folder in sorted({path.parent for path in _files(step_folder)}):
    storage.sync_folder(folder)


def _digest(folder, files, databases):
  """Returns `{path in folder: {bytes, parts: [[offset, length, arrays, digest]]}}`.

  `databases`: {prefix of the path: folder of the database that names the arrays}.
  """
  chunks = {
    prefix + file: found
    for prefix, database in databases.items()
    for file, found in ocdbt_process.chunks(database).items()
  }

  def one(path) -> tuple[str, dict[str, Any]]:
    name = path.relative_to(folder).as_posix()
    with open(path, 'rb') as handle:
      size = os.fstat(handle.fileno()).st_size
      parts = [
        [offset, length, arrays, _hash(handle, offset, length)]
        for offset, length, arrays in _parts(size, chunks.get(name, []))
      ]
      os.fsync(handle.fileno())  # Orbax does not, for its JSON files
    return name, dict(bytes=size, parts=parts)

  return dict(_parallel(one, sorted(files)))


def _parts(size, chunks):
  """Yields (offset, length, arrays) that cover `size` bytes, cut at the chunks."""
  at = 0
  for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
    if chunk.offset < at or chunk.offset + chunk.length > size or not chunk.length:
      continue
    if chunk.offset > at:
      yield at, chunk.offset - at, []
    yield chunk.offset, chunk.length, list(chunk.arrays)
    at = chunk.offset + chunk.length
  if at < size or not size:
    yield at, size - at, []


def _label(item, arrays):
  shown = ', '.join(f'{item}/{array}' for array in arrays[:3])
  return shown + (f' and {len(arrays) - 3} more' if len(arrays) > 3 else '')


def _manifest_text(files):
  """Returns the text of digests.json, which holds the digest of all else in it."""
  content = dict(version=1, algorithm=ALGORITHM, files=files)
  own = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
  return json.dumps(content | {'own': own}, sort_keys=True) + '\n'


# Reading


def read(step_folder):
  """Returns `{path: {bytes, parts}}` of digests.json.

  Raises CheckpointError when it is missing or not what was written.
  """
  path = pathlib.Path(step_folder) / FILE
  try:
    if path.is_symlink() or path.stat().st_size > MAX_MANIFEST_BYTES:
      raise ValueError('a link, or far too large')
    text = path.read_text(encoding='utf-8')
    files = json.loads(text)['files']
    if _manifest_text(files) != text:
      raise ValueError('its own digest differs')
    return files
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    reason = getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'
    raise CheckpointError(f'{path}: no usable digests ({reason})') from error


def size(step_folder):
  """Returns the bytes of a step's files, as digests.json lists them."""
  return sum(entry['bytes'] for entry in read(step_folder).values())


def verify(step_folder, *, share=(0, 1), quick=False, on_bytes=None, item=None):
  """Returns the list of Damage of a step, [] when it is as it was written.

  Args:
    share: (i, n): compare each n-th file from the i-th on; presence counts for all.
    quick: compare names and sizes only.
    item: compare the files of this item only; names count for all.
    on_bytes: called with the number of bytes just compared, from several threads.
  """
  step_folder = pathlib.Path(step_folder)
  try:
    files = read(step_folder)
  except CheckpointError as error:
    return [Damage(FILE, str(error).removeprefix(f'{step_folder / FILE}: '))]
  damages = links(step_folder) + _unlisted(step_folder, files)
  if damages:
    return damages  # nothing is opened that could be somewhere else
  index, count = share
  chosen = [name for name in files if item is None or name.startswith(f'{item}/')]
  names = sorted(chosen)[index::count]

  def one(name):
    return _compare(step_folder / name, name, files[name], quick, on_bytes)

  for _, found in _parallel(lambda name: (name, one(name)), names):
    damages += found
  return damages


def links(step_folder):
  """Returns Damage for each link or device in a step: it could lead anywhere."""
  return [
    Damage(
      path.relative_to(step_folder).as_posix(),
      'a link or device; expected a plain file or folder. Do not use this checkpoint',
    )
    for path in (step_folder, *sorted(step_folder.rglob('*')))
    if not stat.S_ISREG(mode := path.lstat().st_mode) and not stat.S_ISDIR(mode)
  ]


def _unlisted(step_folder, files):
  """Returns Damage for listed paths that lead out of a step, and for added files."""
  found = [
    Damage(name, 'a path that leads out of the folder; do not use this checkpoint')
    for name in files
    if name.startswith('/') or '..' in name.split('/')
  ]
  known = {FILE, *LATE, *files}
  for path in sorted(_files(step_folder)):
    name = path.relative_to(step_folder).as_posix()
    if name not in known and not path.name.startswith('.'):
      found.append(Damage(name, 'was not saved with the step; expected no such file'))
  return found


def _compare(path, name, entry, quick, on_bytes):
  """Returns the Damage of one file, a part at a time."""
  try:
    handle = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), 'rb')
  except OSError as error:
    arrays = ', '.join(sorted({part[2] for part in entry['parts'] if part[2]}))
    reason = f'expected {entry["bytes"]} bytes, found no file ({error.strerror})'
    return [Damage(name, reason, arrays)]
  with handle:
    found = os.fstat(handle.fileno()).st_size
    short = f'expected {entry["bytes"]} bytes, found {found}'
    damages = []
    for offset, length, array, wanted in entry['parts'] if not quick else []:
      got = _hash(handle, offset, length)
      if got != wanted:
        differs = f'expected {ALGORITHM} {wanted[:12]}, found {got[:12]}'
        place = f' in bytes {offset} to {offset + length}'
        reason = short if found < offset + length else differs + place
        damages.append(Damage(name, reason, array))
      if on_bytes:
        on_bytes(length)
    if found != entry['bytes'] and not damages:
      damages.append(Damage(name, short))
    return damages


def _hash(handle, offset, length):
  """Returns the hex digest of a range of an open file, shorter where that ends."""
  digest = hashlib.sha256()
  handle.seek(offset)
  while length > 0 and (block := handle.read(min(length, BLOCK_BYTES))):
    digest.update(block)
    length -= len(block)
  return digest.hexdigest()


def _files(folder):
  return [path for path in folder.rglob('*') if path.is_file()]


def _parallel(function, inputs):
  """Returns [function(i) ...] in order; hashing lets go of Python's lock."""
  with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
    return list(pool.map(function, inputs))
