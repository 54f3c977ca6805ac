"""Where files of a task are looked up."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import finding
from gpt_jax.storage.places import place


@pytest.fixture
def here(tmp_path, monkeypatch):
  (tmp_path / 'cwd').mkdir()
  monkeypatch.chdir(tmp_path / 'cwd')
  monkeypatch.delenv('GPT_JAX_DATA', raising=False)
  return tmp_path


def test_data_dir_wins_over_the_environment_and_this_folder(here, write, monkeypatch):
  for folder in ('cwd', 'env', 'given'):
    path = write(f'{folder}/set/a.tsv', 'x')
    if folder == 'env':
      monkeypatch.setenv('GPT_JAX_DATA', str(here / 'env'))
    data_dir = str(here / 'given') if folder == 'given' else ''
    assert [found.resolve() for found in finding.find(['set/a.tsv'], data_dir)] == [
      path
    ]


def test_globs_are_sorted_and_folders_stay(here, write):
  names = [write(f'set/{name}.tsv', 'x') for name in 'bac']
  assert finding.find(['set/*.tsv', 'set'], str(here)) == [*sorted(names), here / 'set']


def test_files_of_a_bucket_are_copied_here(bucket, here):
  url, _ = bucket
  for name in ('b.tsv', 'a.tsv'):
    place(f'{url}/set/{name}').write_bytes(name.encode())
  found = finding.find([f'{url}/set/*.tsv'], '') + finding.find(['set/b.tsv'], url)
  assert [path.read_text() for path in found] == ['a.tsv', 'b.tsv', 'b.tsv']
  with pytest.raises(DataError, match='no such file'):
    finding.find([f'{url}/set/c.tsv'], '')


def test_a_missing_file_names_places_and_the_nearest(here, write):
  write('set/dev.tsv', 'x')
  with pytest.raises(DataError) as caught:
    finding.find(['set/dv.tsv'], str(here))
  message = str(caught.value)
  assert f'{here}/set/dv.tsv, {here}/cwd/set/dv.tsv' in message
  assert f'did you mean {here}/set/dev.tsv?' in message and 'GPT_JAX_DATA' in message
  with pytest.raises(DataError, match="task.files: '' is no path"):
    finding.find([''], str(here))
