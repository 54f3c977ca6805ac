"""A folder that each host has for itself is no workdir of several processes."""

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.parallel import sync
from gpt_jax.workdir import shared

TOKEN_B = np.arange(16, dtype=np.uint8)


@pytest.fixture
def second_of_two(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  said = shared.multihost_utils
  monkeypatch.setattr(said, 'broadcast_one_to_all', lambda mine: TOKEN_B)
  monkeypatch.setattr(sync, '_last_problem', lambda text: None)
  monkeypatch.setattr(shared, 'LOOK_SECONDS', 0.0)


def test_a_folder_that_lacks_the_first_ones_file_is_refused(tmp_path, second_of_two):
  with pytest.raises(StorageError, match=f'--workdir={tmp_path}: on .* another folder'):
    shared.require_shared(tmp_path)


def test_a_folder_with_the_first_ones_file_is_shared(tmp_path, second_of_two):
  probe = tmp_path / f'.{bytes(TOKEN_B).hex()}.tmp'
  probe.touch()
  shared.require_shared(tmp_path)
  assert probe.exists()  # the first process removes it


def test_one_process_asks_nobody(tmp_path):
  shared.require_shared(tmp_path / 'absent')
