"""A package of an extra is imported, or its absence says what to install."""

import math

import pytest

from gpt_jax.core import extras
from gpt_jax.core.errors import ConfigError


def test_an_installed_module_is_returned():
  assert extras.load('math', extra='tasks', package='math', use='A sum') is math


def test_a_missing_package_names_use_extra_and_command():
  with pytest.raises(ConfigError) as error:
    extras.load('no_such_module.inner', extra='tasks', package='no-such', use='BLEU')
  assert str(error.value) == (
    "BLEU needs the package 'no-such'; install it with: pip install 'gpt_jax[tasks]'."
  )


def test_what_a_package_lacks_itself_is_named(tmp_path, monkeypatch):
  (tmp_path / 'half_installed.py').write_text('import its_own_need\n')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ConfigError, match="needs the package 'its_own_need'"):
    extras.load('half_installed', extra='tasks', package='half-installed', use='BLEU')
