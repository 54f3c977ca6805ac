"""A corpus whose damaged records are left out: counted, listed, up to a limit."""

import logging

from gpt_jax.core.errors import DataError


class Skipping:
  """`corpus` with nothing in place of each document that cannot be read.

  Its damaged records stand in `skipped`, number -> reason, once they have been asked
  for. Which they are follows from the files alone, so every reading leaves out the
  same. Raises DataError for one more than `limit`, naming all of them.
  """

  def __init__(self, corpus, limit):
    self._corpus, self._limit, self.skipped = corpus, limit, {}
    self.fingerprint = corpus.fingerprint
    self.num_bytes = corpus.num_bytes
    self.place = corpus.place

  def __len__(self):
    return len(self._corpus)

  def document(self, i):
    if i in self.skipped:
      return b''
    try:
      document = self._corpus.document(i)
      self._require_text(document, i)
      return document
    except DataError as error:
      self._skip(i, error)
      return b''

  def _require_text(self, document, i):
    try:
      str(document, 'utf-8')
    except UnicodeDecodeError as error:
      raise DataError(
        f'{self.place(i)}: byte {error.start} is not UTF-8 ({error.reason})'
      ) from error

  def _skip(self, i, error):
    self.skipped[i] = str(error)
    if len(self.skipped) > self._limit:
      listed = '\n'.join(f'  {reason}' for reason in self.skipped.values())
      raise DataError(
        f'data.max_corrupt_records={self._limit}: there are more damaged records:\n{listed}\n'
        'Bring good copies of these files, or allow more.'
      ) from error
    logging.warning('left out (data.max_corrupt_records=%d): %s', self._limit, error)


def wrap(corpus, data):
  """Returns `corpus`, without damaged records if `data.max_corrupt_records` allows some."""
  return (
    Skipping(corpus, data.max_corrupt_records) if data.max_corrupt_records else corpus
  )
