"""Films, read and divided, for the tests of this folder."""

import pytest

from gpt_jax.recommend import catalogue, split
from tests.recommend import films


@pytest.fixture(scope='session')
def items(tmp_path_factory):
  return catalogue.load(films.write(tmp_path_factory.mktemp('films')))


@pytest.fixture(scope='session')
def parts(items):
  return split.divide(items)
