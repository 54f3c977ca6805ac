"""Where a key store lies: a file that its owner alone may read, or a database's URL."""

import os
import pathlib
import stat

from gpt_jax.core import extras
from gpt_jax.core.errors import ConfigError, StorageError

VARIABLE = 'GPT_JAX_KEYS'
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def default():
  """Returns the location that no flag names: GPT_JAX_KEYS, else a file at home."""
  home = os.environ.get('XDG_CONFIG_HOME') or '~/.config'
  return os.environ.get(VARIABLE) or f'{home}/gpt_jax/keys.sqlite'


def load_sqlalchemy():
  """Returns the module sqlalchemy; ConfigError where it is not installed."""
  return extras.load(
    'sqlalchemy', extra='serve', package='sqlalchemy', use='A key store'
  )


def url_of(location):
  """Returns (URL of SQLAlchemy, path of the SQLite file or None) of a file or URL.

  Raises ConfigError for a URL that names no kind of database, without repeating it: it
  may have a password.
  """
  sqlalchemy = load_sqlalchemy()
  text = os.fspath(location)
  if '://' not in text:
    path = pathlib.Path(text).expanduser().absolute()
    return sqlalchemy.URL.create('sqlite', database=str(path)), path
  try:
    url = sqlalchemy.make_url(text)
  except (sqlalchemy.exc.ArgumentError, ValueError):
    raise ConfigError(
      f'keys={text.partition("://")[0]}://...: cannot be read as a URL of SQLAlchemy;'
      ' expected one such as postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, with'
      ' @, / and : of a password written as %40, %2F and %3A.'
    ) from None
  if url.get_backend_name() != 'sqlite':
    return url, None
  if not url.database or url.database == ':memory:':
    raise ConfigError(
      f'keys={text}: a store in memory ends with its process; expected a file.'
    )
  path = pathlib.Path(url.database).expanduser().absolute()
  return url.set(database=str(path)), path


def shown(url):
  """Returns a URL as errors may show it: a path, or no password and no query."""
  if url.get_backend_name() == 'sqlite':
    return url.database
  return url.set(query={}).render_as_string(hide_password=True)


def without_password(url, text):
  """Returns the `text` of a driver with the password of `url` taken out."""
  hidden = [url.password, *url.query.values()]
  for value in (one for one in hidden if isinstance(one, str) and one):
    text = text.replace(value, '***')
  return text


def make_file(path):
  """Makes the file of a new store, for its owner alone; leaves one that exists."""
  try:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # With its mode from the first moment: nobody opens it between two calls. SQLite
    # gives its journal files the mode of the database.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
  except FileExistsError:
    pass
  except OSError as error:
    raise StorageError(f'keys={path}: cannot be made: {error.strerror}.') from error


def require_private(path):
  """Raises StorageError for a file that others than its owner may read or write."""
  try:
    mode = path.stat().st_mode
  except FileNotFoundError:
    raise StorageError(
      f'keys={path}: no such file. Make the first key with:'
      f' gpt-jax keys create --name=NAME --keys={path}'
    ) from None
  except OSError as error:
    raise StorageError(f'keys={path}: {error.strerror}.') from error
  if not stat.S_ISREG(mode):
    raise StorageError(f'keys={path}: is no file; expected that of a key store.')
  if mode & OTHERS:
    raise StorageError(
      f'keys={path}: its mode is {stat.S_IMODE(mode):04o}: others than its owner may'
      f' read or write the keys. Close it with: chmod 600 {path}'
    )
