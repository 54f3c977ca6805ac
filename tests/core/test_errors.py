"""Errors of the user's own making: one exit code per class, and ValueError for all."""

from gpt_jax.core import errors


def test_exit_codes_are_those_of_the_documentation():
  codes = {
    errors.UserError: 2,
    errors.ConfigError: 2,
    errors.DataError: 3,
    errors.CheckpointError: 4,
    errors.StorageError: 5,
    errors.DivergedError: 6,
  }
  assert {cls: cls.exit_code for cls in codes} == codes
  assert all(issubclass(cls, ValueError) for cls in codes)
  # Stopped in order: no error of the user's.
  assert errors.Interrupted.exit_code == 75
  assert not issubclass(errors.Interrupted, errors.UserError)


def test_a_missing_extra_names_package_and_command():
  message = errors.require_extra('serve', 'starlette')
  assert "'starlette'" in message and "pip install 'gpt_jax[serve]'" in message
