"""A file of keys belongs to its owner, and no error shows a password."""

import stat

import pytest

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.keys import location
from gpt_jax.keys.store import KeyStore

PASSWORD = 'Ge:heim@7'
URL = 'postgresql+psycopg://me:Ge%3Aheim%407@127.0.0.1:1/keys?sslpassword=Ge:heim@7'


def test_the_default_is_at_home_or_as_the_variable_says(monkeypatch):
  monkeypatch.delenv('GPT_JAX_KEYS', raising=False)
  monkeypatch.setenv('XDG_CONFIG_HOME', '/conf')
  assert location.default() == '/conf/gpt_jax/keys.sqlite'
  monkeypatch.setenv('GPT_JAX_KEYS', URL)
  assert location.default() == URL


def test_a_new_file_and_its_folder_are_for_the_owner_alone(tmp_path):
  path = tmp_path / 'new' / 'keys.sqlite'
  with KeyStore(path, create=True) as store:
    store.create('a')
    files = list(path.parent.iterdir())
    assert len(files) == 3  # with the journal of SQLite
    for one in (path.parent, *files):
      assert not stat.S_IMODE(one.stat().st_mode) & 0o077, one


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path, mode):
  path = tmp_path / 'keys.sqlite'
  KeyStore(path, create=True).close()
  path.chmod(mode)
  for create in (False, True):
    with pytest.raises(StorageError, match=f'mode is {mode:04o}.*chmod 600 {path}'):
      KeyStore(path, create=create)


def test_missing_files_and_folders_are_named_with_a_way_out(tmp_path):
  with pytest.raises(StorageError, match='no such file.*gpt-jax keys create'):
    KeyStore(tmp_path / 'none.sqlite')
  with pytest.raises(StorageError, match='is no file'):
    KeyStore(tmp_path)
  with pytest.raises(ConfigError, match='in memory'):
    KeyStore('sqlite://')


def test_files_that_are_no_store_are_refused(tmp_path):
  path = tmp_path / 'text'
  path.write_text('not a database, but long enough to be read as one ' * 20)
  path.chmod(0o600)
  with pytest.raises(StorageError, match='not a database'):
    KeyStore(path)
  path.write_text('')
  with pytest.raises(StorageError, match='holds no keys of gpt-jax'):
    KeyStore(path)


def test_a_path_and_a_url_of_sqlite_are_the_same_place(tmp_path):
  path = tmp_path / 'keys.sqlite'
  assert location.url_of(path) == location.url_of(f'sqlite:///{path}')
  assert location.shown(location.url_of(path)[0]) == str(path)


def test_passwords_appear_in_no_error():
  url, path = location.url_of(URL)
  assert path is None and url.password == PASSWORD
  assert location.shown(url) == 'postgresql+psycopg://me:***@127.0.0.1:1/keys'
  text = location.without_password(url, f'cannot log in with {PASSWORD} ({PASSWORD})')
  assert text == 'cannot log in with *** (***)'
  for wrong in (URL, URL.replace('psycopg', 'nothing'), URL.replace('1:1/', '1:x/')):
    with pytest.raises((StorageError, ConfigError)) as error:
      KeyStore(wrong)
    chain = (error.value, error.value.__cause__)
    assert not any('heim' in str(one) for one in chain)
    assert error.value.__suppress_context__
