"""Copying gives the source."""

from gpt_jax.baselines.copy_source import copy_source


def test_the_source_comes_back():
  assert copy_source(['Ein Hund.', ' two\n']) == ['Ein Hund.', 'two']
