"""Which bytes hold which array, told by this process and by another."""

import fault_flips
import jax.numpy as jnp
import pytest

from gpt_jax import checkpoint_chunks
from gpt_jax.checkpoint_index import Index


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('saved')
  with fault_flips.open_folder(path) as store:
    store.save(1, {'params': {'wide': jnp.ones((64, 64)), 'tiny': jnp.ones(3)}}, {})
  return path / '1' / 'params'


@pytest.fixture
def elsewhere():
  """An Index that asks another process from the start, a new one after two answers."""
  index = Index(here=0, by_one=3)
  yield index
  index.close()


def test_another_process_tells_the_same(folder, elsewhere):
  expected = checkpoint_chunks.chunks(folder)
  assert expected
  assert elsewhere.chunks(folder) == expected
  assert elsewhere._process.poll() is None


def test_a_new_process_takes_the_place_of_an_old_one(folder, elsewhere):
  processes = []
  for _ in range(4):
    elsewhere.chunks(folder)
    processes.append(elsewhere._process)
  assert [p is processes[0] for p in processes] == [True, True, False, False]
  assert processes[0].poll() is not None


def test_a_process_that_dies_costs_no_answer(folder, elsewhere):
  elsewhere.chunks(folder)
  elsewhere._process.kill()
  elsewhere._process.wait()
  assert elsewhere.chunks(folder) == checkpoint_chunks.chunks(folder)


def test_the_first_answers_need_no_other_process(folder):
  index = Index(here=2)
  assert index.chunks(folder) == index.chunks(folder)
  assert index._process is None


def test_a_damaged_database_raises_here(folder, elsewhere, tmp_path):
  (tmp_path / checkpoint_chunks.MANIFEST).write_bytes(b'no manifest')
  with pytest.raises(ValueError, match='manifest'):
    elsewhere.chunks(tmp_path)
  assert elsewhere.chunks(folder) == checkpoint_chunks.chunks(folder)


def test_the_other_process_ends_with_its_input(folder, elsewhere):
  elsewhere.chunks(folder)
  elsewhere._process.stdin.close()  # as when this process is killed
  assert elsewhere._process.wait(timeout=60) == 0
