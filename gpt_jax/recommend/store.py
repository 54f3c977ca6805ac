"""What `gpt-jax recommend train` leaves in a folder, for the other actions.

recommender.json says of what data and by which runs, examples/ has what the text model
learned from, vectors.npy a vector of each item's text, and text_SEED/ are runs.
"""

import pathlib

import numpy as np

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.workdir import files

SETTINGS = 'recommender.json'
EVALUATION = 'evaluation.json'


class Store:
  """The folder of a recommender."""

  def __init__(self, folder):
    self.folder = pathlib.Path(folder)

  @property
  def vectors(self):
    return self.folder / 'vectors.npy'

  @property
  def evaluation(self):
    return self.folder / EVALUATION

  def examples(self, split):
    """Returns the path of the examples of `split`."""
    return self.folder / 'examples' / f'{split}.jsonl'

  def text(self, seed):
    """Returns the workdir of the text model with this seed."""
    return self.folder / f'text_{seed}'

  def write_settings(self, settings):
    files.write_json(self.folder / SETTINGS, settings)

  def is_begun(self):
    """Returns whether examples and vectors are there, and training may have begun."""
    return (self.folder / SETTINGS).is_file()

  def settings(self):
    """Returns the settings; DataError for a folder that holds no recommender."""
    path = self.folder / SETTINGS
    if not path.is_file():
      raise DataError(
        f'--out={self.folder}: holds no recommender ({SETTINGS} is not there); make one'
        ' by `gpt-jax recommend train`.'
      )
    return files.read_json(path)

  def chosen(self):
    """Returns the method that was best on the validation, None before `evaluate`."""
    if not self.evaluation.is_file():
      return None
    return files.read_json(self.evaluation)['chosen']

  def write_vectors(self, vectors_ND):
    try:
      np.save(self.vectors, vectors_ND)
    except OSError as error:
      raise StorageError(f'cannot write {self.vectors} ({error}).') from error

  def read_vectors(self, num_items):
    """Returns the items' vectors, None where there are none.

    Raises DataError where the data have another number of items now.
    """
    if not self.vectors.is_file():
      return None
    vectors_ND = np.load(self.vectors, allow_pickle=False)
    if len(vectors_ND) != num_items:
      raise DataError(
        f'{self.vectors}: has vectors of {len(vectors_ND):,} items, the data have'
        f' {num_items:,}; train again, in another --out.'
      )
    return vectors_ND
