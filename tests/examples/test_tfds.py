"""Prepared TFDS sets as records."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import splits

pytest.importorskip('tensorflow_datasets', reason='needs tensorflow-datasets')

EXAMPLES = [('schön', 1), ('bad', 0), ('gut', 1)]


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """Returns the folder of a set `tiny_films` of three examples."""
  import tensorflow_datasets as tfds

  folder = tmp_path_factory.mktemp('tfds')
  features = tfds.features.FeaturesDict(
    {
      'sentence': tfds.features.Text(),
      'label': tfds.features.ClassLabel(names=['negative', 'positive']),
      'idx': tfds.features.Scalar(np.int32),
    }
  )

  class TinyFilms(tfds.core.GeneratorBasedBuilder):
    """Three sentences."""

    VERSION = tfds.core.Version('1.0.0')
    url_infos = {}  # looking for them needs importlib_resources

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self, features=features, disable_shuffling=True
      )

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples()}

    def _generate_examples(self):
      for i, (text, label) in enumerate(EXAMPLES):
        yield i, {'sentence': text, 'label': label, 'idx': i}

  builder = TinyFilms(data_dir=str(folder), file_format='array_record')
  builder.download_and_prepare(file_format='array_record')
  return str(folder)


def load(prepared, name, columns=None):
  files, columns = {'test': name}, columns or {}
  return splits.load(files, 'tfds', columns, 'test', data_dir=prepared)


def test_text_is_decoded_and_classes_are_names(prepared):
  for name in ('tiny_films:train', 'tiny_films:1.0.0:train'):
    found = load(prepared, name)
    assert [record.values for record in found] == [
      {'sentence': text, 'label': ['negative', 'positive'][label], 'idx': i}
      for i, (text, label) in enumerate(EXAMPLES)
    ]
  assert found[2].place == 'TFDS set tiny_films:1.0.0, train, example 2'
  columns = {'text': 'sentence', 'label': 'label'}
  (only,) = load(prepared, 'tiny_films:train[1:2]', columns)
  assert only.values == {'text': 'bad', 'label': 'negative'}


@pytest.mark.parametrize(
  'name, message',
  [
    ('tiny_films', "task.files='tiny_films': expected NAME:SPLIT"),
    ('tiny_films:test', "no split 'test'; it has train"),
    ('tiny_film:train', "no such TFDS set .*did you mean 'tiny_films'"),
  ],
)
def test_sets_and_splits_that_are_not_there_are_named(prepared, name, message):
  with pytest.raises(DataError, match=message):
    load(prepared, name)
