"""Which bytes of a saved item's files belong to which array.

Orbax keeps the arrays of an item in OCDBT databases (TensorStore), one of each process
and one that refers to all: trees whose leaves point at byte ranges of data files, one a
shard of an array. Arrays below a kilobyte are in the nodes themselves. In a bucket each
shard is an object of its own, since many writes of one root would take turns there.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json

import tensorstore as ts

from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.storage import kvstore
from gpt_jax.storage.objects import files_below
from gpt_jax.storage.places import place
from gpt_jax.storage.systems import connections
from gpt_jax.storage.urls import is_remote

MANIFEST = 'manifest.ocdbt'  # the root of a database, in its folder
TREE = '_METADATA'  # names the arrays of an item, beside its databases
ZARRAY = '.zarray'  # ends the key of an array's shape and chunks


@dataclasses.dataclass(frozen=True)
class Chunk:
  """The bytes from `start` to `stop`, which hold (parts of) `arrays`, sorted."""

  start: int
  stop: int
  arrays: tuple[str, ...]


def readable_chunks(item_folder):
  """Returns `{file below item_folder: [Chunk]}` of the databases that can be read."""
  item_folder = place(item_folder)
  found, paths = collections.defaultdict(list), {}
  with contextlib.suppress(Exception):  # damaged, in any way: then dotted names stay
    paths = names(item_folder)
  if is_remote(item_folder):
    return _objects(item_folder, paths)
  databases = [path for path, _ in files_below(item_folder) if path.name == MANIFEST]
  for manifest in databases:
    database = manifest.parent.relative_to(item_folder)
    with contextlib.suppress(Exception):
      for file, inside in chunks(manifest.parent).items():
        found[(database / file).as_posix()] += [
          dataclasses.replace(c, arrays=tuple(paths.get(a, a) for a in c.arrays))
          for c in inside
        ]
  return dict(found)


def _objects(item_folder, paths):
  """Returns what `readable_chunks` does, of an item of objects ARRAY/CHUNK."""
  found = {}
  for path, size in files_below(item_folder):
    file = path.relative_to(item_folder).as_posix()
    if array := paths.get(file.partition('/')[0]):
      found[file] = [Chunk(0, size, (array,))]
  return found


def chunks(folder):
  """Returns `{file: [Chunk]}` of the database in `folder`, arrays by dotted path."""
  folder = place(folder)
  if not (folder / MANIFEST).exists():
    return {}
  found, seen = collections.defaultdict(list), set()
  store = ts.KvStore.open(kvstore.spec(folder)).result()
  newest = ts.ocdbt.dump(store).result()['versions'][-1:]
  pending = [(v['root']['location'], b'') for v in newest if 'location' in v['root']]
  while pending:
    location, prefix = pending.pop()
    if location in seen:  # a crafted tree could contain a cycle
      continue
    seen.add(location)
    node = ts.ocdbt.dump(store, location).result()
    inside = set()
    for entry in node['entries']:
      if 'location' in entry:  # a node below, which leaves out what its keys share
        pending.append((entry['location'], prefix + entry['subtree_common_prefix']))
        continue
      array, _, _ = (prefix + entry['key']).decode().rpartition('/')
      if 'indirect_value' in entry:
        file, start, length = _parse_location(entry['indirect_value'])
        found[file].append(Chunk(start, start + length, (array,)))
      else:
        inside.add(array)
    file, start, length = _parse_location(location)
    found[file].append(Chunk(start, start + length, tuple(sorted(inside))))
  return dict(found)


def names(item_folder):
  """Returns `{name that TensorStore knows: path with slashes}` of an item's leaves."""
  path = place(item_folder) / TREE
  if not path.exists():
    return {}
  return {'.'.join(keys): '/'.join(keys) for keys, _ in _leaves(path)}


def _leaves(path):
  """Yields ([key, ...], is it an array) of the leaves in an item's _METADATA."""
  for leaf in json.loads(path.read_text())['tree_metadata'].values():
    keys = [str(k['key']) for k in leaf['key_metadata']]
    yield keys, not leaf.get('value_metadata', {}).get('skip_deserialize')


def require_safe_names(item_folder):
  """Raises CheckpointError when an array's name would lead out of the folder."""
  for name, path in names(item_folder).items():
    if any(part in ('', '.', '..') for part in path.split('/')) or '\0' in name:
      raise CheckpointError(
        f'{item_folder}: an array is called {path!r}; expected a name that stays inside'
        ' the folder. This checkpoint was not written by gpt-jax: do not use it.'
      )


def require_complete(item_folder):
  """Raises StorageError unless every array of a saved item can be read to its end.

  Looks up each chunk and reads its last byte; digests answer for those before it.
  """
  item_folder = place(item_folder)
  is_apart = is_remote(item_folder)
  if not is_apart and not (item_folder / MANIFEST).exists():
    raise StorageError(f'{item_folder.name}/{MANIFEST} was not written')
  try:
    missing = (_missing_objects if is_apart else _missing_keys)(item_folder)
  except ValueError as error:  # TensorStore's, for a file that is missing or too short
    raise StorageError(f'{item_folder.name} cannot be read back ({error})') from error
  if missing:
    raise StorageError(
      f'{item_folder.name}: {len(missing)} parts of arrays were not written,'
      f' {missing[0]} among them'
    )


def _missing_keys(item_folder):
  """Returns the keys that an item lacks, sorted; ValueError where one is unreadable."""
  base = kvstore.spec(item_folder)
  store = ts.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
  found = {key.decode() for key in store.list().result()}
  for tail in [store.read(key, byte_range=slice(-1, None)) for key in found]:
    tail.result()
  return sorted(_expected_keys(item_folder, store, found) - found)


def _missing_objects(item_folder):
  """Returns the objects that an item in a bucket lacks, sorted."""
  found = {
    path.relative_to(item_folder).as_posix()
    for path, size in files_below(item_folder)
    if size
  }
  leaves = _leaves(item_folder / TREE)
  arrays = ['.'.join(keys) for keys, is_array in leaves if is_array]
  headers = [f'{array}/{ZARRAY}' for array in arrays]
  there = [header for header in headers if header in found]
  with concurrent.futures.ThreadPoolExecutor(connections()) as pool:
    texts = pool.map(lambda header: (item_folder / header).read_text(), there)
  expected = set(headers)
  for header, text in zip(there, texts, strict=True):
    expected |= _chunk_keys(header.removesuffix(f'/{ZARRAY}'), json.loads(text))
  return sorted(expected - found)


def _expected_keys(item_folder, store, found):
  """Returns the keys of all headers and, where those are found, of their chunks."""
  expected = set()
  for parts, is_array in _leaves(item_folder / TREE):
    array = '.'.join(parts)
    key = f'{array}/{ZARRAY}'
    if is_array:
      expected.add(key)
      if key in found:
        expected |= _chunk_keys(
          array, json.loads(store.read(key, staleness_bound=0.0).result().value)
        )
  return expected


def _chunk_keys(array, header):
  """Returns the keys of all chunks of an array with this .zarray."""
  grid = [
    range(-(-size // chunk))
    for size, chunk in zip(header['shape'], header['chunks'], strict=True)
  ]
  separator = header.get('dimension_separator', '.')
  places = (separator.join(map(str, place)) for place in itertools.product(*grid))
  return {f'{array}/{place or 0}' for place in places}


def _parse_location(location):
  """Returns (file, start, length) of `kind:base:file:start:length`."""
  front, start, length = location.rsplit(':', 2)
  _, base, file = front.split(':', 2)
  return base + file, int(start), int(length)
