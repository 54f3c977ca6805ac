"""An index on disk: the passages of a folder, their terms and vectors.

A folder with `index.json` (files and their SHA-256, settings) and one numbered folder,
a generation, with all passages. An update reads the files that have changed, makes a
new generation, and names it in index.json by a rename: a reader sees the old index or
the new one. Vectors are kept as they are made, so that a stopped update goes on.
"""

import contextlib
import dataclasses
import fcntl
import json
import pathlib
import shutil

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError, StorageError
from gpt_jax.retrieval import bm25, documents, passages, terms
from gpt_jax.retrieval.passages import Passage
from gpt_jax.retrieval.vector_store import VectorStore, is_same_encoder, key_of
from gpt_jax.workdir import files

FORMAT = 1
PROBE = 'Where can I find the answer to my question?'
"""Its vector tells one encoder from another."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """How documents are cut, and what makes their vectors."""

  max_words: int = 180
  overlap_words: int = 40
  encoder: str = ''  # a run; '': no vectors


@dataclasses.dataclass(frozen=True)
class Change:
  """What an update has done."""

  added: int
  changed: int
  removed: int
  unchanged: int
  others: tuple[str, ...]  # files of other kinds
  num_passages: int

  def __str__(self):
    return (
      f'{self.num_passages:,} passages; files: {self.added} new, {self.changed}'
      f' changed, {self.removed} gone, {self.unchanged} as before'
    )


class Index:
  """An index that is read: `passages`, `words` (a WordIndex), `vectors_ND` or None."""

  def __init__(self, folder):
    """Opens the index of a folder. Raises DataError where there is none."""
    self.folder = pathlib.Path(folder)
    record = _read_record(self.folder)
    if record is None:
      raise DataError(
        f'--index={folder}: there is no index; make one with: gpt-jax support index'
        f' --documents=DIR --index={folder}'
      )
    self.settings = Settings(**record['settings'])
    self.files = record['files']
    part = self.folder / record['generation']
    try:
      lines = (part / 'passages.jsonl').read_text(encoding='utf-8').splitlines()
      self.passages = [Passage(**json.loads(line)) for line in lines]
      self.words = bm25.WordIndex.load(part / 'bm25')
      has_vectors = bool(self.settings.encoder)
      self.vectors_ND = np.load(part / 'vectors.npy') if has_vectors else None
      self.probe_D = np.load(part / 'probe.npy') if has_vectors else None
    except ConfigError:
      raise
    except (OSError, ValueError, TypeError, KeyError) as error:
      raise DataError(
        f'--index={folder}: is damaged ({error}); remove it and make it again.'
      ) from error

  def check_encoder(self, embed, name):
    """Raises ConfigError unless `embed` is what made the vectors.

    `embed`: `texts -> float32 [N, D]`, of length 1. `name`: what messages call it.
    """
    _check_probe(self.folder, self.settings.encoder, self.probe_D, embed, name)


def update(folder, source, settings, embed=None, progress=None):
  """Brings the index in `folder` up to date with the documents of `source`.

  Args:
    folder: made if it is not there.
    source: a folder of documents, or one file.
    settings: a Settings. Others than those of an index that is there make it anew; but
      another encoder is refused.
    embed: `texts -> float32 [N, D]`, of length 1; None with `settings.encoder=''`.
    progress: `(iterable, total) -> iterable`, for the vectors.
  Returns a Change. Raises DataError for documents, StorageError for the folder,
  ConfigError for another encoder and a missing package.
  """
  bm25.require()
  passages.check_sizes(settings.max_words, settings.overlap_words)
  folder = pathlib.Path(folder)
  found, others = documents.files_of(source)
  old = Index(folder) if _read_record(folder) is not None else None
  if old is not None:
    _check_same_encoder(old, settings, embed)
  files.check_writable(folder)
  with _one_writer(folder):
    kept, digests, change = _read_changed(found, old, settings)
    all_passages = [one for name in found for one in kept[name]]
    if not all_passages:
      raise DataError(f'--documents={source}: its {len(found)} files have no text.')
    change = dataclasses.replace(
      change, others=tuple(others), num_passages=len(all_passages)
    )
    is_same = old is not None and old.settings == settings
    if is_same and not (change.added or change.changed or change.removed):
      return change
    _write(folder, old, settings, all_passages, digests, embed, progress)
  return change


def _read_changed(found, old, settings):
  """Returns ({name: its Passages}, {name: digest}, Change) of all files."""
  known = {}
  is_cut_alike = old is not None and (
    (old.settings.max_words, old.settings.overlap_words)
    == (settings.max_words, settings.overlap_words)
  )
  before = old.files if old is not None else {}
  if old is not None and is_cut_alike:
    for one in old.passages:
      known.setdefault(one.file, []).append(one)
  kept, digests, counts = {}, {}, dict(added=0, changed=0, unchanged=0)
  for name, path in found.items():
    content, digest = documents.read_bytes(path)
    digests[name] = digest
    if before.get(name) == digest:
      counts['unchanged'] += 1
    else:
      counts['changed' if name in before else 'added'] += 1
    if is_cut_alike and before.get(name) == digest:
      kept[name] = known.get(name, [])
    else:
      document = documents.read(name, path, content)
      kept[name] = passages.cut(document, settings.max_words, settings.overlap_words)
  removed = sum(name not in found for name in before)
  return kept, digests, Change(removed=removed, others=(), num_passages=0, **counts)


def _write(folder, old, settings, all_passages, digests, embed, progress):
  """Writes a new generation and names it; the one before is removed."""
  record = _read_record(folder) if old is not None else None
  before = record['generation'] if record else 'generation-0'
  name = f'generation-{int(before.rpartition("-")[2]) + 1}'
  part = folder / name
  shutil.rmtree(part, ignore_errors=True)  # of an update that was stopped
  try:
    part.mkdir()
    lines = [
      json.dumps(dataclasses.asdict(one), ensure_ascii=False) for one in all_passages
    ]
    (part / 'passages.jsonl').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    texts = [one.to_embed for one in all_passages]
    bm25.WordIndex.build([terms.terms(text) for text in texts]).save(part / 'bm25')
    if embed is not None:
      probe_D = embed([PROBE])[0]
      store = VectorStore(folder / 'pending', probe_D)
      if old is not None:
        keys = [key_of(one.to_embed) for one in old.passages]
        store.vectors |= dict(zip(keys, old.vectors_ND, strict=True))
      np.save(part / 'vectors.npy', store.embed(texts, embed, progress))
      np.save(part / 'probe.npy', probe_D)
    files.sync_folder(part)
  except OSError as error:
    raise StorageError(
      f'cannot write {part} ({error.strerror or error}); free some space, or give'
      ' another folder.'
    ) from error
  files.write_json(
    folder / 'index.json',
    dict(
      format=FORMAT,
      generation=name,
      settings=dataclasses.asdict(settings),
      files=digests,
    ),
  )
  for other in (*folder.glob('generation-*'), folder / 'pending'):
    if other.name != name:
      shutil.rmtree(other, ignore_errors=True)


def _read_record(folder):
  """Returns what index.json says, None where there is none."""
  if not (folder / 'index.json').exists():
    return None
  try:
    record = files.read_json(folder / 'index.json')
    if record['format'] != FORMAT:
      raise ValueError(f'format {record["format"]} of another version')
    Settings(**record['settings'])
    return dict(record, files=dict(record['files']))
  except (StorageError, ValueError, KeyError, TypeError) as error:
    raise DataError(
      f'{folder / "index.json"}: is no index ({error}); remove the folder and make it'
      ' again.'
    ) from error


def _check_same_encoder(old, settings, embed):
  before = old.settings.encoder
  if bool(before) != bool(settings.encoder):
    raise ConfigError(
      f'--index={old.folder} was made '
      + (f'with --encoder={before}' if before else 'without an encoder')
      + ': give the same, or another --index.'
    )
  if before:
    old.check_encoder(embed, settings.encoder)


def _check_probe(folder, before, probe_D, embed, name):
  vector_D = embed([PROBE])[0]
  if not is_same_encoder(vector_D, probe_D):
    raise ConfigError(
      f'--index={folder} was made with another encoder ({before}) than {name}: their'
      ' vectors cannot be compared; give that one, or another --index.'
    )


@contextlib.contextmanager
def _one_writer(folder):
  with open(folder / '.lock', 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise StorageError(
        f'--index={folder}: another process is writing it; wait for it to end.'
      ) from error
    yield
