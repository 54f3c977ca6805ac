"""Files of a corpus: finding them, their bytes, and a fingerprint of their content."""

import fnmatch
import functools
import glob
import gzip
import hashlib
import mmap
import os
import pathlib
import zlib

from gpt_jax.core.errors import DataError, note_once
from gpt_jax.data import encodings
from gpt_jax.storage import bucket_paths, mirror, urls
from gpt_jax.storage.download import look_up_all
from gpt_jax.storage.places import place

_BLOCK = 1 << 20
_SAMPLED_BLOCKS = 64
_WAYS_OUT = {
  '.zst': 'unpack it (zstd -d), or pack it with gzip',
  '.xz': 'unpack it (unxz), or pack it with gzip',
  '.bz2': 'unpack it (bunzip2), or pack it with gzip',
  '.zip': 'unpack it (unzip)',
  '.tar': 'unpack it (tar -x)',
  '.parquet': 'write its rows as JSON lines, by pandas.DataFrame.to_json(lines=True)',
}
"""Endings of files that are not read -> what to do."""


def find(data, suffixes):
  """Returns the sorted non-empty files that `data.path` names, in a folder or bucket.

  Relative paths are looked up in `data.data_dir`, $GPT_JAX_DATA and the working
  directory, in this order. A folder stands for the files below it with one of
  `suffixes` (or that plus .gz), without hidden ones (.name). Raises DataError where all
  are empty or none exists.
  """
  if not data.path:
    raise DataError(
      f'data.path is empty: data.source={data.source!r} needs a file, glob or folder.'
    )
  for path in candidates(data.path, data.data_dir):
    try:
      found = search(path, suffixes)
    except DataError as error:
      raise DataError(f'data.path: {error}') from error
    if filled := [file for file, size in found if size]:
      return _readable(filled)
    if found:
      raise DataError(f'data.path={data.path!r}: {found[0][0]} is empty (0 bytes).')
  raise DataError(
    f'data.path={data.path!r}: no such file, glob or folder with {"/".join(suffixes)}'
    f' files{_where(data)}'
  )


def _readable(paths):
  """Returns `paths`; DataError for one in a form that is not read."""
  for path in paths:
    if way_out := _WAYS_OUT.get(path.suffix):
      raise DataError(
        f'data.path: {path}: {path.suffix} files are not read; {way_out}.'
      )
  return paths


def _where(data):
  """Returns where was looked, and what may be done."""
  if not urls.is_url(data.path):
    searched = ', '.join(str(root) for root in roots(data.data_dir))
    return f' in {searched}. Give an absolute path, or set data.data_dir.'
  folder, pattern = urls.split_pattern(data.path.rstrip('/'))
  if not pattern and urls.bucket_and_key(folder)[1]:
    folder = folder.rpartition('/')[0]
  return f'; what is there is listed by: {urls.list_command(folder)}'


def local(paths):
  """Returns `paths`, those in a bucket as copies on this machine."""
  return mirror.kept_all(paths) if paths and urls.is_remote(paths[0]) else paths


def _find_remote(path, suffixes):
  """Returns the sorted [(path, bytes)] of what `path` names in a bucket."""
  fixed, pattern = urls.split_pattern(os.fspath(path))
  folder = place(fixed, can_be_bucket=True)
  found = bucket_paths.contents(folder)
  if found and found[0].path == os.fspath(folder):  # a file
    return [(folder, found[0].size)]
  start = len(os.fspath(folder)) + 1
  below = [(folder / one.path[start:], one.size) for one in found]
  return sorted(
    (file, size)
    for file, size in below
    if _is_wanted(file.relative_to(folder), pattern, suffixes)
  )


def _is_wanted(name, pattern, suffixes):
  """Returns whether a file below the folder is meant: by a glob, or by its ending."""
  if not pattern:
    endings = tuple(suffixes) + tuple(f'{suffix}.gz' for suffix in suffixes)
    return name.name.endswith(endings) and not _is_hidden(name)
  return _matches(name.parts, pattern.split('/'))


def _matches(parts, wanted):
  """Returns whether the parts of a name match a pattern, as `glob.glob` would say.

  ** stands for any number of parts; hidden ones match only what begins with a dot.
  """
  if not wanted or not parts:
    return not parts and set(wanted) <= {'**'}
  is_hidden = parts[0].startswith('.') and not wanted[0].startswith('.')
  if wanted[0] == '**':
    rest = _matches(parts, wanted[1:])
    return rest or (not is_hidden and _matches(parts[1:], wanted))
  is_match = fnmatch.fnmatchcase(parts[0], wanted[0]) and not is_hidden
  return is_match and _matches(parts[1:], wanted[1:])


def candidates(path, data_dir):
  """Returns where `path`, of a file, glob, folder or URL, is looked up, in order."""
  if urls.is_url(path):
    return [path]
  return [root / os.path.expanduser(path) for root in roots(data_dir)]


def search(path, suffixes):
  """Returns the sorted [(file, bytes)] of what `path` names, here or in a bucket."""
  look = _find_remote if urls.is_url(os.fspath(path)) else _find_here
  return look(path, suffixes)


def roots(data_dir):
  """Returns the folders that relative paths are looked up in, in their order."""
  named = [os.fspath(data_dir or ''), os.environ.get('GPT_JAX_DATA', '')]
  return [_root(name) for name in named if name] + [pathlib.Path.cwd()]


def _root(name):
  if urls.is_url(name):
    return place(name, can_be_bucket=True)
  return pathlib.Path(os.path.expanduser(name))


def _find_here(path, suffixes):
  """Returns the sorted [(path, bytes)] of what `path` names on this machine."""
  return [(file, file.stat().st_size) for file in _expand(path, suffixes)]


def _expand(path, suffixes):
  try:
    path.stat()
  except FileNotFoundError:
    pass  # a glob, or nothing
  except OSError as error:
    raise _unreadable(path, error) from error
  if path.is_file():
    return [path]
  if path.is_dir():
    there = sorted(_files_below(path))
    endings = tuple(suffixes) + tuple(f'{suffix}.gz' for suffix in suffixes)
    found = [p for p in there if p.name.endswith(endings)]
    endings = tuple(f'{suffix}{packed}' for suffix in suffixes for packed in _WAYS_OUT)
    packed = [p for p in there if p.name.endswith(endings)]
    if found and packed:
      note_once(f'{path}: {packed[0].name} and the like are not read ({len(packed)})')
    return found or packed  # which `_readable` refuses
  # A folder that is there by its full name is no pattern: x[1] stands for itself.
  folder = next(parent for parent in path.parents if parent.is_dir())
  pattern = path.parts[len(folder.parts) :]
  matches = glob.glob(os.path.join(glob.escape(str(folder)), *pattern), recursive=True)
  return sorted(pathlib.Path(match) for match in matches if os.path.isfile(match))


def _files_below(folder):
  """Yields the files below `folder`, but hidden ones and those of hidden folders."""

  def fail(error):  # what cannot be listed would be missing in silence
    raise _unreadable(error.filename, error) from error

  for here, folders, names in os.walk(folder, onerror=fail):
    folders[:] = [n for n in folders if n[0] != '.' and n != 'lost+found']
    paths = (pathlib.Path(here, name) for name in names if name[0] != '.')
    yield from (path for path in paths if path.is_file())


def _unreadable(path, error):
  return DataError(f'{path} cannot be read: {error.strerror or error}.')


def _is_hidden(path):
  # Backups and swap files of editors, .git, what macOS puts beside each file.
  return any(part.startswith('.') for part in path.parts)


def read_utf8(path, encoding='utf-8'):
  """Returns the text of `path`, unpacked where it is a .gz, as UTF-8: a memory map.

  Bytes of a UTF-8 file are as they are. Raises DataError for a .gz that is damaged, and
  for text that is not in `encoding`.
  """
  if not encodings.is_utf8(encoding):
    return encodings.transcode(blocks(path), encoding, path)
  if path.name.endswith('.gz'):
    content = encodings.unpack(blocks(path))
  else:
    with path.open('rb') as file:
      content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  encodings.refuse_utf16(content, path)
  return content


def blocks(path):
  """Yields the bytes of `path`, unpacked where it is a .gz. Raises DataError."""
  is_gzip = path.name.endswith('.gz')
  try:
    with path.open('rb') as plain, gzip.open(plain) if is_gzip else plain as file:
      while block := file.read(_BLOCK):
        yield block
  except (OSError, EOFError, zlib.error) as error:
    what = 'is not a readable gzip file' if is_gzip else 'cannot be read'
    raise DataError(f'{path} {what}: {error}') from error


@functools.lru_cache(maxsize=4096)
def _digest(path, size, modified_ns):
  """Returns the sha256 of 64 evenly spaced MiB of a file (all of a smaller one)."""
  del modified_ns  # only part of the cache key: a file may change while we run
  digest = hashlib.sha256(str(size).encode())
  step = max(_BLOCK, size // _SAMPLED_BLOCKS)
  try:
    with open(path, 'rb') as file:
      for start in range(0, size, step):
        file.seek(start)
        digest.update(file.read(_BLOCK))
  except OSError as error:
    raise _unreadable(path, error) from error
  return digest.hexdigest()


def fingerprint(paths):
  """Returns the number, bytes and sha256 of `paths`; names and folders do not count."""
  digest, total = hashlib.sha256(), 0
  if paths and urls.is_remote(paths[0]):
    for found in look_up_all(paths):
      digest.update(found.version.encode())
      total += found.size
  else:
    for path in paths:
      status = path.stat()
      digest.update(_digest(path, status.st_size, status.st_mtime_ns).encode())
      total += status.st_size
  return {'files': len(paths), 'bytes': total, 'content': digest.hexdigest()[:16]}
