"""Records of all documents grouped by a key, through files, with bounded memory.

Records go to files ordered by slices of the key space, and a slice of all files is
read at a time. All that shares a key is in one slice, so that 1 / 256 of the records
has to fit into memory.
"""

from collections.abc import Iterator

import numpy as np

SLICES = 256
_START = 8 * (SLICES + 1)  # bytes of the offsets


def write(path, records):
  """Writes `records`, a structured array with a uint64 field `key`, as one file."""
  slices = (records['key'] >> np.uint64(56)).astype(np.uint8)
  order = np.argsort(slices, kind='stable')
  ends = np.cumsum(np.bincount(slices, minlength=SLICES))
  with path.open('wb') as file:
    file.write(np.concatenate([[0], ends]).astype('<u8').tobytes())
    file.write(records[order].tobytes())


def read_slice(paths, number, dtype):
  """Returns the records of slice `number` of all files, as they lie in them."""
  found = [np.zeros(0, dtype)]
  for path in paths:
    with path.open('rb') as file:
      file.seek(8 * number)
      first, stop = np.frombuffer(file.read(16), '<u8').tolist()
      file.seek(_START + first * dtype.itemsize)
      content = file.read((stop - first) * dtype.itemsize)
    found.append(np.frombuffer(content, dtype))
  return np.concatenate(found)


def slices(folder, blocks, dtype, order) -> Iterator[np.ndarray]:
  """Yields all records in slices, each ordered by the fields `order`.

  Args:
    folder: for files, which are deleted again: as many bytes as all records have.
    blocks: iterable of arrays of `dtype`.
  """
  folder.mkdir(parents=True, exist_ok=True)
  paths = []
  try:
    for block in blocks:
      paths.append(folder / f'records-{len(paths)}.bin')
      write(paths[-1], block)
    for number in range(SLICES):
      records = read_slice(paths, number, dtype)
      if len(records):
        yield records[np.lexsort([records[field] for field in reversed(order)])]
  finally:
    for path in paths:
      path.unlink(missing_ok=True)


def later_members(records, fields):
  """Returns (places of records that are not the first of their group, of that first).

  Those of one group stand together and agree in all `fields`.
  """
  if not len(records):
    return np.zeros(0, np.int64), np.zeros(0, np.int64)
  is_first = np.ones(len(records), bool)
  changes = [records[field][1:] != records[field][:-1] for field in fields]
  is_first[1:] = np.any(changes, axis=0)
  firsts = np.flatnonzero(is_first)
  members = np.flatnonzero(~is_first)
  return members, firsts[np.cumsum(is_first)[members] - 1]


def stays(pairs, numbers, comes_first):
  """Returns int64 [D, 2] (number that goes, number that stays in its place), rising.

  What pairs connect, one through another, is a group, of which the first number stays.

  Args:
    pairs: int64 [P, 2], numbers of documents that are alike.
    numbers: int64 [N], all that `pairs` have, rising.
    comes_first: bool [N]: those that come before the others of their group.
  """
  from scipy.sparse import coo_array
  from scipy.sparse.csgraph import connected_components

  places = np.searchsorted(numbers, pairs).T
  graph = coo_array((np.ones(len(pairs), bool), places), 2 * (len(numbers),))
  _, groups = connected_components(graph, directed=False)
  order = np.lexsort([numbers, ~comes_first])
  _, firsts = np.unique(groups[order], return_index=True)
  kept = numbers[order[firsts]][groups]
  goes = kept != numbers
  return np.stack([numbers[goes], kept[goes]], axis=1)
