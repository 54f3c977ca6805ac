"""The study of a search in Optuna's storage: opened, reached, and still the same."""

import contextlib
import random
import time

from gpt_jax.config import load
from gpt_jax.config.diff import diff
from gpt_jax.core.errors import CheckpointError, Interrupted, StorageError, UserError
from gpt_jax.sweeps import states


def open_study(optuna, url, **options):
  """Returns the study of `optuna.create_study`, made where there is none yet."""
  # Optuna makes its tables without a lock: of processes that begin together all but one
  # may find a table or a row that another has just made, and then find everything made.
  for delay in (0.1, 0.3, 1, 3):
    try:
      return _open_once(optuna, url, options)
    except Exception as error:
      if not _made_by_another(error):
        raise
    time.sleep(delay * (1 + random.random()))
  return _open_once(optuna, url, options)


def _open_once(optuna, url, options):
  storage = url
  if url.startswith('sqlite'):
    # Processes that share a file wait for each other: longer than the default 5 s.
    waiting = dict(connect_args=dict(timeout=60))
    storage = optuna.storages.RDBStorage(url, engine_kwargs=waiting)
  return optuna.create_study(storage=storage, load_if_exists=True, **options)


def _made_by_another(error):
  from sqlalchemy import exc

  if isinstance(error, exc.IntegrityError):
    return True
  return isinstance(error, exc.DBAPIError) and 'exists' in str(error.orig)


@contextlib.contextmanager
def explaining_errors(url):
  """Turns what a database or its driver raises into a StorageError about `url`."""
  try:
    yield
  except (Interrupted, UserError):
    raise
  except Exception as error:  # of any of the drivers, or of none
    text = next((line for line in str(error).splitlines() if line.strip()), '')
    raise StorageError(
      f'--storage={shown_url(url)}: cannot be reached or used'
      f' ({type(error).__name__}: {text.strip().rstrip(".")}). Expected a URL of'
      ' SQLAlchemy, such as sqlite:///FILE.db or postgresql://USER@HOST/DATABASE, its'
      ' driver installed and its server running; the same command continues.'
    ) from error


def shown_url(url):
  """Returns `url` without its password."""
  try:
    import sqlalchemy

    return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
  except Exception:  # not a URL: it has no password that could be found
    return url


def definition(experiment, row, space, rungs, config):
  """Returns all that the trials of one study must have in common, as JSON values."""
  stated = load.to_dict(config)
  stated['rungs'] = list(rungs)
  stated['row'], stated['metric'] = row, experiment.metric
  stated['higher_is_better'] = experiment.higher_is_better
  stated['search'] = {one.field: str(one) for one in space}
  return stated


def require_same(study, stated, url, shown):
  """Raises CheckpointError listing what has changed since the study began."""
  saved = study.user_attrs.get('definition')
  if saved is None:
    study.set_user_attr('definition', stated)
    return
  free = (*states.FREE_FIELDS, 'data.cache_dir')
  changed = [
    (field, old, new)
    for field, old, new in diff(saved, stated)
    if not any(field == one or field.startswith(f'{one}.') for one in free)
  ]
  if changed:
    num_trials = len(study.get_trials(deepcopy=False))
    listed = '\n'.join(f'  {field}: {old} -> {new}' for field, old, new in changed)
    raise CheckpointError(
      f'the study {study.study_name} in {shown_url(url)} has {num_trials} trials with'
      f' other settings:\n{listed}\n'
      f'Restore the old ones, or begin a new study with --study=NAME (now {shown}).'
    )
