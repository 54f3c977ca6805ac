"""URLs name a folder of a bucket, or are refused by name before anything is made."""

import os
import pathlib
import threading

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.storage import objects, places, scratch, systems, urls


@pytest.mark.parametrize(
  'text, said',
  [
    ('hdfs://host/run', 'hdfs:// is no storage'),
    ('gss://bucket/run', 'Did you mean gs://bucket/run?'),
    ('gs:/bucket/run', 'gs://bucket/run'),
    ('gs://bucket', 'names no folder'),
    ('gs://b/run', 'no name of a bucket'),
    ('gs://Bucket/run', 'no name of a bucket'),
    ('gs://bucket/a//b', 'an empty part'),
    ('s3://bucket/../run', '..'),
    ('gs://bucket/run*', "'*' cannot be in the name"),
    ('file:///data/run', 'the path alone, /data/run'),
  ],
)
def test_a_url_that_names_no_folder_is_refused(text, said, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ConfigError) as error:
    places.place(text)
  assert text in str(error.value) and said in str(error.value)
  assert os.listdir(tmp_path) == []


def test_a_url_is_a_scheme_a_bucket_and_a_key():
  assert urls.parse('gs://my-bucket/runs/tiny/') == ('gs', 'my-bucket', 'runs/tiny')
  assert urls.parse('runs/tiny') is None
  assert urls.bucket_and_key('s3://my-bucket/a/b') == ('my-bucket', 'a/b')
  assert urls.is_remote('s3://b/c') and not urls.is_remote(pathlib.Path('/gs/b'))


def test_a_glob_begins_below_the_last_plain_folder():
  pattern = urls.split_pattern('gs://bucket/data/v1/*/part-?.txt')
  assert pattern == ('gs://bucket/data/v1', '*/part-?.txt')
  assert urls.split_pattern('gs://bucket/a.txt') == ('gs://bucket/a.txt', '')
  assert urls.split_pattern('gs://bucket/*.txt') == ('gs://bucket', '*.txt')
  assert urls.split_pattern('gs://b*/*.txt') == ('gs://b*', '*.txt')


def test_all_of_a_bucket_is_something_to_read_from():
  for text in ('gs://my-bucket', 'gs://my-bucket/'):
    assert urls.parse(text, can_be_bucket=True) == ('gs', 'my-bucket', '')
    assert str(places.place(text, can_be_bucket=True)) == 'gs://my-bucket'


def test_of_a_bucket_several_things_are_read_at_once():
  meeting = threading.Barrier(2, timeout=10)

  def read(item):
    meeting.wait()  # for another that is read meanwhile
    return 2 * item

  assert objects.read_each(read, range(4), 'gs://my-bucket/run') == [0, 2, 4, 6]
  assert objects.read_each(lambda item: item, 'ab', pathlib.Path('/')) == ['a', 'b']


def test_commands_that_an_error_names_fit_the_storage():
  assert urls.move_command('gs://b/a=1', 'gs://b/c') == (
    'gcloud storage mv gs://b/a=1 gs://b/c'
  )
  assert urls.move_command('s3://b/a', 'd') == 'aws s3 mv --recursive s3://b/a d'
  assert urls.move_command('/runs/a b', '/c') == "mv '/runs/a b' /c"
  assert urls.list_command('gs://b/a b') == "gcloud storage ls 'gs://b/a b'/"


def test_a_local_path_stays_one_of_pathlib(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert places.place('runs/x') == tmp_path / 'runs' / 'x'
  assert type(places.place('runs/x')) is type(pathlib.Path())


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
  monkeypatch.setitem(urls.SCHEMES, 'gs', ('Google', 'no_such_package', 'gcs'))
  systems.prepare.cache_clear()
  with pytest.raises(ConfigError, match=r'no_such_package.*gpt_jax\[gcs\]'):
    places.place('gs://my-bucket/run')
  systems.prepare.cache_clear()


def test_scratch_lies_where_the_variable_says(tmp_path, monkeypatch):
  monkeypatch.setenv('GPT_JAX_SCRATCH', str(tmp_path))
  assert scratch.folder('tokens') == tmp_path / 'tokens'
