"""One server for all tests that leave it as it was."""

import pytest

from tests.serving import served


@pytest.fixture(scope='session')
def server():
  """Yields the Served of a small model with chats."""
  with served.serve() as found:
    yield found
