"""Digests of a step's files: written with the step, compared before it is used.

They find accidents, not attacks: whoever can write arrays can also write the manifest.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import stat

from gpt_jax.checkpoints import manifest, ocdbt
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.storage.objects import files_below, open_plain
from gpt_jax.storage.places import place
from gpt_jax.storage.systems import connections
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files

PART = 'digests.process_{}.json'  # of the files that one process wrote of an item
LATE = ('_CHECKPOINT_METADATA', 'commit_success.txt')
"""Files that Orbax writes into a step after its digests; nothing reads them."""

READ_BYTES = manifest.BLOCK_BYTES
MAX_LISTED = 10


@dataclasses.dataclass(frozen=True)
class Damage:
  """What is wrong with one file (path in the step), where, and in which arrays."""

  file: str
  reason: str
  arrays: str = ''  # '' where it is not known
  span: tuple[int, int] | None = None  # the bytes that differ

  def __str__(self):
    arrays = f' ({self.arrays})' if self.arrays else ''
    return f'{self.file}{arrays}: {self.reason}'


def describe(damages):
  """Returns the lines of an error: the first `damages`, then how many more."""
  lines = [f'  {damage}' for damage in damages[:MAX_LISTED]]
  rest = len(damages) - MAX_LISTED
  return '\n'.join([*lines, *([f'  ... and {rest} more'] if rest > 0 else [])])


# Writing


def write_part(item_folder, process):
  """Writes the digests of the files that `process` wrote of an item."""
  item_folder = place(item_folder)
  own = [
    (path, size)
    for path, size in files_below(item_folder)
    if any(
      part.endswith(f'process_{process}')
      for part in path.relative_to(item_folder).parts
    )
  ]
  files.write_json(item_folder / PART.format(process), _digest(item_folder, own))


def require_parts(item_folder, processes):
  """Raises StorageError naming the first process whose part of an item is missing."""
  for process in range(processes):
    if not (item_folder / PART.format(process)).exists():
      raise StorageError(
        f'process {process} of {processes} could not write its part of'
        f' {item_folder.name}'
      )


def write_manifest(step_folder):
  """Writes the manifest of a complete step; all of it is on the disk afterwards."""
  step_folder = place(step_folder)
  entries = {}
  for part in sorted(step_folder.glob(f'*/{PART.format("*")}')):
    for name, entry in files.read_json(part).items():
      entries[f'{part.parent.name}/{name}'] = entry
    part.unlink()
  sizes = _sizes(step_folder)
  _require_sizes(sizes, entries)
  known = {manifest.FILE, *LATE, *entries}  # what a process digested is not read again
  rest = [(step_folder / n, size) for n, size in sizes.items() if n not in known]
  entries |= _digest(step_folder, rest)
  files.write_text(step_folder / manifest.FILE, manifest.dumps(entries))
  for folder in sorted({(step_folder / name).parent for name in sizes}):
    files.sync_folder(folder)


def _require_sizes(sizes, entries):
  """Raises StorageError for a file that is not as long as when it was digested."""
  for name, entry in entries.items():
    size = sizes.get(name, 'none')
    if size != entry['bytes']:
      raise StorageError(f'{name}: {entry["bytes"]} bytes were written, found {size}')


def _digest(folder, found):
  """Returns `{path in folder: {bytes, blocks: [digest]}}` of [(path, size)], synced."""

  def digest(path_and_size):
    path = path_and_size[0]
    with open_plain(*path_and_size) as handle:
      size = handle.seek(0, os.SEEK_END)
      spans = manifest.block_ranges(size, manifest.BLOCK_BYTES)
      blocks = [_hash(handle, start, length) for start, length in spans]
      if not is_remote(path):
        os.fsync(handle.fileno())  # Orbax does not, for its JSON files
    return _name(path, folder), dict(bytes=size, blocks=blocks)

  return dict(_parallel(digest, sorted(found), is_remote(folder)))


# Comparing


def verify(step_folder, *, share=(0, 1), quick=False, on_bytes=None, item=None):
  """Returns the list of Damage of a step, [] when it is as it was written.

  Compares each n-th file from the i-th on for `share` (i, n), those of one `item`, only
  sizes if `quick`; names of all. Threads call `on_bytes(count)` as they go.
  """
  step_folder = place(step_folder)
  try:
    listed = manifest.read(step_folder)
  except CheckpointError as error:
    reason = str(error).removeprefix(f'{step_folder / manifest.FILE}: ')
    return [Damage(manifest.FILE, reason)]
  sizes = _sizes(step_folder)
  damages = links(step_folder) + _unlisted(sizes, listed)
  if damages:
    return damages  # nothing is opened that could be somewhere else
  index, count = share
  chosen = [name for name in listed if item is None or name.startswith(f'{item}/')]
  names = sorted(chosen)[index::count]

  def compare(name):
    path, size = step_folder / name, sizes.get(name)
    return _compare(path, size, name, listed[name], quick, on_bytes)

  compared = _parallel(compare, names, is_remote(step_folder))
  found = [damage for each in compared for damage in each]
  return _with_arrays(step_folder, found)


def links(step_folder):
  """Returns Damage for each link or device in a step: it could lead anywhere."""
  reason = (
    'a link or device; expected a plain file or folder. Do not use this checkpoint'
  )
  found = []
  if is_remote(step_folder):
    return found  # a bucket has none
  for path in (step_folder, *sorted(step_folder.rglob('*'))):
    with contextlib.suppress(FileNotFoundError):  # the run has pruned it meanwhile
      mode = path.lstat().st_mode
      if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        found.append(Damage(_name(path, step_folder), reason))
  return found


def _unlisted(sizes, listed):
  found = [
    Damage(name, 'a path that leads out of the folder; do not use this checkpoint')
    for name in listed
    if name.startswith('/') or '..' in name.split('/')
  ]
  known = {manifest.FILE, *LATE, *listed}
  for name in sorted(sizes):
    if name not in known and not name.rpartition('/')[2].startswith('.'):
      found.append(Damage(name, 'was not saved with the step; expected no such file'))
  return found


def _compare(path, listed_size, name, file, quick, on_bytes):
  try:
    if listed_size is None and is_remote(path):
      raise FileNotFoundError(path)
    handle = open_plain(path, listed_size)
  except OSError as error:
    arrays = ', '.join(sorted({block.arrays for block in file.blocks} - {''}))
    reason = f'expected {file.size} bytes, found no file ({error.strerror or "absent"})'
    return [Damage(name, reason, arrays, (0, file.size))]
  with handle:
    size = handle.seek(0, os.SEEK_END)
    other_size = f'expected {file.size} bytes, found {size}'
    damages = []
    for block in () if quick else file.blocks:
      digest = _hash(handle, block.start, block.length)
      if digest != block.digest:
        reason = (
          f'expected {manifest.ALGORITHM} {block.digest[:12]}, found {digest[:12]} in'
          f' bytes {block.start} to {block.stop}'
        )
        reason = other_size if size < block.stop else reason
        damages.append(Damage(name, reason, block.arrays, (block.start, block.stop)))
      if on_bytes:
        on_bytes(block.length)
    if size != file.size and not damages:
      damages.append(Damage(name, other_size))
    return damages


def _with_arrays(step_folder, damages):
  """Returns `damages` with the arrays that their bytes hold, as far as can be read."""
  # Not at each save: TensorStore 0.1.86 leaks about 2 kB for each shard that it lists.
  chunks = {}

  def named(damage):
    item, _, file = damage.file.partition('/')
    if damage.arrays or damage.span is None or not file:
      return damage
    if item not in chunks:
      chunks[item] = ocdbt.readable_chunks(step_folder / item)
    start, stop = damage.span
    arrays = {
      f'{item}/{array}'
      for chunk in chunks[item].get(file, ())
      if chunk.start < stop and start < chunk.stop
      for array in chunk.arrays
    }
    return dataclasses.replace(damage, arrays=_listed(sorted(arrays)))

  return [named(damage) for damage in damages]


def _listed(arrays):
  more = f' and {len(arrays) - 3} more' if len(arrays) > 3 else ''
  return ', '.join(arrays[:3]) + more


def _hash(handle, offset, length):
  """Returns the hex digest of a range of an open file, shorter where that ends."""
  # 1.5 GB/s a core with the processor's SHA instructions, 0.7 without. CRC-32, at 2.3,
  # would not do for published files.
  digest = hashlib.sha256()
  handle.seek(offset)
  # No more than there is: `read` allocates what it is asked for, in a thread's arena.
  while length > 0 and (content := handle.read(min(length, READ_BYTES))):
    digest.update(content)
    length -= len(content)
  return digest.hexdigest()


def _name(path, folder):
  return path.relative_to(folder).as_posix()


def _sizes(folder):
  """Returns `{path in folder: bytes}` of all files below it."""
  return {_name(path, folder): size for path, size in files_below(folder)}


def _parallel(function, inputs, is_waiting=False):
  """Returns [function(i) ...] in order; hashing lets go of Python's lock."""
  # A thread that waits for a bucket needs no core.
  threads = connections() if is_waiting else min(8, os.cpu_count() or 1)
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    return list(pool.map(function, inputs))
