"""The folder of a monitor: one at a time, and logs that agree with the state."""

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.opinion.folder import Folder


def test_what_was_written_after_the_last_state_is_cut_off(tmp_path):
  with Folder(tmp_path) as folder:
    assert folder.load() is None
    folder.commit({'n': 1}, [{'a': 1}], [])
    folder.commit({'n': 2}, [{'a': 2}], [{'id': 'x'}])
    with open(folder.log('alerts'), 'a') as file:
      file.write('{"id": "y"}\n{"id"')  # a kill before the state
  with Folder(tmp_path) as folder:
    assert folder.load()['n'] == 2
    assert folder.read('alerts') == [{'id': 'x'}]
    assert folder.read('points') == [{'a': 1}, {'a': 2}]
    assert folder.read('points', last=12) == [{'a': 2}]


def test_two_monitors_cannot_share_a_folder(tmp_path):
  with (
    Folder(tmp_path),
    pytest.raises(StorageError, match='another monitor works here'),
  ):
    Folder(tmp_path)
  Folder(tmp_path).close()


def test_a_log_that_somebody_shortened_is_named(tmp_path):
  with Folder(tmp_path) as folder:
    folder.commit({}, [{'a': 1}], [])
    folder.log('points').write_text('')
    with pytest.raises(StorageError, match='points.jsonl: has 0 bytes'):
      folder.load()
