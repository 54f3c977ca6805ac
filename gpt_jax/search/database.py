"""The study of a search in Optuna's storage: opened, reached, and still the same."""

import contextlib

from gpt_jax.config import load
from gpt_jax.config.diff import diff
from gpt_jax.core.errors import CheckpointError, Interrupted, StorageError, UserError
from gpt_jax.sweeps import states


def open_url(optuna, url):
  """Returns what `optuna.create_study` takes as a storage."""
  if not url.startswith('sqlite'):
    return url
  # Processes that share a file wait for each other: longer than the default 5 s.
  options = dict(connect_args=dict(timeout=60))
  return optuna.storages.RDBStorage(url, engine_kwargs=options)


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
