"""Which bytes of a saved item's files belong to which array.

Orbax keeps the arrays of an item in an OCDBT database (TensorStore): a tree of nodes
that point at byte ranges of data files, one range a shard of an array. Arrays below a
kilobyte stand in the nodes themselves.
"""

import collections
import ctypes
import dataclasses
import json
import pathlib
import sys

import tensorstore as ts

from gpt_jax.errors import CheckpointError

MANIFEST = 'manifest.ocdbt'  # the root of a database, in its folder


@dataclasses.dataclass(frozen=True)
class Chunk:
  """`length` bytes from `offset` on, which hold (parts of) `arrays`, sorted."""

  offset: int
  length: int
  arrays: tuple[str, ...]


def chunks(folder):
  """Returns `{file below folder: [Chunk]}` of the database in `folder`, or {}.

  Arrays have the names that TensorStore knows: their path joined by dots.
  """
  folder = pathlib.Path(folder)
  if not (folder / MANIFEST).exists():
    return {}
  found = collections.defaultdict(list)
  store = ts.KvStore.open({'driver': 'file', 'path': f'{folder}/'}).result()
  newest = _dump(store)['versions'][-1:]
  pending = [(v['root']['location'], b'') for v in newest if 'location' in v['root']]
  while pending:
    location, prefix = pending.pop()
    node = _dump(store, location)
    inside = set()
    for entry in node['entries']:
      if 'location' in entry:  # a node below, which leaves out what its keys share
        pending.append((entry['location'], prefix + entry['subtree_common_prefix']))
        continue
      array, _, _ = (prefix + entry['key']).decode().rpartition('/')
      if 'indirect_value' in entry:
        file, offset, length = _place(entry['indirect_value'])
        found[file].append(Chunk(offset, length, (array,)))
      else:
        inside.add(array)
    file, offset, length = _place(location)
    found[file].append(Chunk(offset, length, tuple(sorted(inside))))
  return dict(found)


def names(item_folder):
  """Returns `{name that TensorStore knows: path with slashes}` of an item's arrays."""
  path = pathlib.Path(item_folder) / '_METADATA'
  if not path.exists():
    return {}
  tree = json.loads(path.read_text())['tree_metadata']
  paths = [[str(k['key']) for k in leaf['key_metadata']] for leaf in tree.values()]
  return {'.'.join(keys): '/'.join(keys) for keys in paths}


def refuse_strange_names(item_folder):
  """Raises CheckpointError when an array's name would lead out of the folder."""
  for name, path in names(item_folder).items():
    if any(part in ('', '.', '..') for part in path.split('/')) or '\0' in name:
      raise CheckpointError(
        f'{item_folder}: an array is called {path!r}; expected a name that stays inside'
        ' the folder. This checkpoint was not written by gpt-jax: do not use it.'
      )


def _dump(store, *location):
  """Returns a node of the database in `store` as dicts and lists; its root without one.

  TensorStore 0.1.86 makes them with a reference too many to each key and value of a
  dict (json_type_caster.cc), so they would stay for good: a kilobyte for each array at
  each save.
  """
  tree = ts.ocdbt.dump(store, *location).result()
  _drop_surplus(tree)
  return tree


def _drop_surplus(tree):
  """Gives back the one reference that nobody holds to keys and values of dicts.

  Nothing but `tree` may refer to its parts yet. Where TensorStore counts rightly, there
  is none; what Python shares (numbers, short texts) is left alone.
  """
  rightful = []
  _visit(json.loads('{"key": []}'), lambda part, count: rightful.append(count))

  def drop(part, count):
    if count == max(rightful) + 1 and _is_unshared(part):
      ctypes.pythonapi.Py_DecRef(ctypes.py_object(part))

  _visit(tree, drop)


def _visit(tree, see):
  """Calls `see(part, its references here)` with each key and value of all dicts."""
  if isinstance(tree, list):
    for part in tree:
      _visit(part, see)
  elif isinstance(tree, dict):
    for pair in tree.items():
      for part in pair:
        see(part, sys.getrefcount(part))
        _visit(part, see)


def _is_unshared(part):
  """Returns whether Python makes an object of its own for each such value."""
  if isinstance(part, str | bytes):
    return len(part) > 1
  return part > 256 if isinstance(part, int) else isinstance(part, dict | list)


def _place(location):
  """Returns (file, offset, length) of `kind:base:file:offset:length`."""
  front, offset, length = location.rsplit(':', 2)
  _, base, file = front.split(':', 2)
  return base + file, int(offset), int(length)
