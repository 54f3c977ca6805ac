"""What errors say of the other runs that an objective reads."""

import contextlib

from gpt_jax.core.errors import CheckpointError, UserError


@contextlib.contextmanager
def named_reference(name, path):
  """Prefixes UserErrors with the reference of the objective that they are about."""
  where = f'the run that the objective reads as {name!r}, {path!r}'
  try:
    yield
  except UserError as error:
    raise type(error)(f'{where}: {error}') from error
  except OSError as error:  # a name that is too long, say
    raise CheckpointError(f'{where}: cannot be read: {error.strerror}.') from error
