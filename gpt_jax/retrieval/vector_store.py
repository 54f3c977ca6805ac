"""Vectors of passages, kept while an index is made: a stop loses few of them."""

import contextlib
import hashlib
import io
import os
import shutil
import uuid
import zipfile

import numpy as np

from gpt_jax.core.errors import StorageError

BATCH = 256  # passages between two files
SAME_ENCODER = 0.999
"""Cosine of the vectors of one text by one encoder: devices round otherwise."""


def is_same_encoder(vector_D, other_D):
  """Returns whether two vectors of one text, of length 1, are by one encoder."""
  return vector_D.shape == other_D.shape and bool(vector_D @ other_D >= SAME_ENCODER)


def key_of(text):
  """Returns the name of a text, the same for equal texts: SHA-256 as hex."""
  return hashlib.sha256(text.encode()).hexdigest()


class VectorStore:
  """A folder of files with vectors by key; each file is whole or absent."""

  def __init__(self, folder, probe_D):
    """Takes a folder, made at the first vectors. Files that are no such are ignored.

    `probe_D`: the encoder's vector of a text that is always the same; vectors of
    another encoder are removed.
    """
    self._folder, self._probe_D = folder, probe_D
    if not self._is_of_this_encoder():
      self.clear()
    self.vectors: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob('*.npz')) if folder.is_dir() else ():
      with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        with np.load(path) as file:
          self.vectors |= dict(zip(file['keys'].tolist(), file['vectors'], strict=True))

  def embed(self, texts, embed, progress=None):
    """Returns the vectors of texts, float32 [N, D]; makes and keeps those that lack.

    Args:
      embed: `texts -> float32 [n, D]`.
      progress: `(iterable, total) -> iterable` that displays a progress bar.
    """
    keys = [key_of(text) for text in texts]
    missing = {key: text for key, text in zip(keys, texts, strict=True)}
    missing = [pair for pair in missing.items() if pair[0] not in self.vectors]
    # Texts of like length are padded to one.
    missing.sort(key=lambda pair: len(pair[1]))
    parts = [missing[i : i + BATCH] for i in range(0, len(missing), BATCH)]
    for part in progress(parts, len(parts)) if progress else parts:
      names = [key for key, _ in part]
      made_ND = embed([text for _, text in part])
      self._keep(names, made_ND)
      self.vectors |= dict(zip(names, made_ND, strict=True))
    return np.stack([self.vectors[key] for key in keys])

  def clear(self):
    """Removes the files."""
    shutil.rmtree(self._folder, ignore_errors=True)

  def _is_of_this_encoder(self):
    with contextlib.suppress(OSError, ValueError):
      return is_same_encoder(self._probe_D, np.load(self._folder / 'probe.npy'))
    return False

  def _keep(self, names, vectors_ND):
    name = uuid.uuid4().hex
    scratch = self._folder / f'.{name}.tmp'
    content = io.BytesIO()
    np.savez(content, keys=np.array(names), vectors=vectors_ND)
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
      np.save(self._folder / 'probe.npy', self._probe_D)
      scratch.write_bytes(content.getvalue())
      os.replace(scratch, self._folder / f'{name}.npz')
    except OSError as error:
      raise StorageError(
        f'cannot write in {self._folder} ({error.strerror or error}); free some space,'
        ' or give another folder.'
      ) from error
