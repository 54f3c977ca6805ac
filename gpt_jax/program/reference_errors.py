"""What errors say of the other runs that an objective reads."""

import contextlib

from gpt_jax.core.errors import UserError


@contextlib.contextmanager
def named_reference(name, path):
  """Prefixes UserErrors with the reference of the objective that they are about."""
  try:
    yield
  except UserError as error:
    text = f'the run that the objective reads as {name!r}, {path!r}: {error}'
    raise type(error)(text) from error
