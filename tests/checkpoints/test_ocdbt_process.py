"""Which bytes hold which array, told by this process and by another."""

import jax.numpy as jnp
import pytest

from gpt_jax.checkpoints import ocdbt, ocdbt_process
from gpt_jax.checkpoints.ocdbt_process import Index
from tests.faults import flips


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('saved')
  with flips.open_folder(path) as store:
    store.save(1, {'params': {'wide': jnp.ones((64, 64)), 'tiny': jnp.ones(3)}}, {})
  return path / '1' / 'params'


@pytest.fixture
def elsewhere():
  """An Index that asks another process from the start."""
  index = Index(here=0)
  yield index
  index.close()


def test_another_process_tells_the_same(folder, elsewhere, monkeypatch):
  expected = ocdbt.chunks(folder)
  assert expected
  monkeypatch.chdir(folder.parent)
  assert elsewhere.chunks(folder) == expected
  monkeypatch.chdir(folder)
  assert elsewhere.chunks(folder.relative_to(folder)) == expected
  assert elsewhere._process.poll() is None


def test_a_new_process_takes_the_place_of_one_that_has_told_enough(folder):
  told = ocdbt_process._count(ocdbt.chunks(folder))
  index, processes = Index(here=0, of_one=told + 1), []
  for _ in range(3):
    index.chunks(folder)
    processes.append(index._process)
  index.close()
  assert processes[1] is None  # ended after its second answer
  assert processes[0] is not processes[2]
  assert processes[0].poll() is not None


def test_the_first_answers_need_no_other_process(folder):
  told = ocdbt_process._count(ocdbt.chunks(folder))
  index = Index(here=told + 1)
  index.chunks(folder)
  index.chunks(folder)
  assert index._process is None
  index.chunks(folder)
  assert index._process is not None
  index.close()


def test_a_process_that_dies_costs_no_answer_and_is_replaced(folder, elsewhere):
  expected = elsewhere.chunks(folder)
  elsewhere._process.kill()
  elsewhere._process.wait()
  with pytest.warns(UserWarning, match='asked here instead'):
    assert elsewhere.chunks(folder) == expected
  assert elsewhere.chunks(folder) == expected
  assert elsewhere._process.poll() is None


def test_an_interrupted_question_leaves_no_answer_for_the_next(
  folder, elsewhere, monkeypatch, tmp_path
):
  def interrupted(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(ocdbt_process.select, 'select', interrupted)
    with pytest.raises(KeyboardInterrupt):
      elsewhere.chunks(folder)
  assert elsewhere.chunks(tmp_path) == {}


def test_a_damaged_database_raises_here(folder, elsewhere, tmp_path):
  (tmp_path / ocdbt.MANIFEST).write_bytes(b'no manifest')
  with pytest.raises(ValueError, match='manifest'):
    elsewhere.chunks(tmp_path)
  assert elsewhere.chunks(folder) == ocdbt.chunks(folder)


def test_the_other_process_ends_with_its_input(folder, elsewhere):
  elsewhere.chunks(folder)
  elsewhere._process.stdin.close()  # as when this process is killed
  assert elsewhere._process.wait(timeout=60) == 0
