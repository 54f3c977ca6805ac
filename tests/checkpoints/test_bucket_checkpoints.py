"""Checkpoints in a bucket: whole or absent, verified, the old ones removed."""

import jax
import numpy as np
import pytest

from gpt_jax.checkpoints import digests, integrity
from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.storage import objects
from gpt_jax.storage.bucket_paths import COMMIT
from gpt_jax.storage.places import place
from gpt_jax.workdir.lease import LostLease, UnsureLease
from tests import tiny_runs
from tests.checkpoints import states
from tests.storage.buckets import both

pytestmark = [pytest.mark.slow, both]


def opened(folder, **options):
  settings = dict(keep_last=2, keep_best=0, best_metric='', asynchronous=True)
  return Checkpoints(folder, **settings | options)


def save(store, step):
  tree = {
    name: jax.device_put(np.full(shape, step + 0.5, np.float32), states.spread(8, spec))
    for name, shape, spec in (('kernel', (16, 24), ('data',)), ('scale', (), ()))
  }
  store.save(step, {'params': {'block': tree}}, {'step': step})
  store.wait()
  return {'block': tree}


def restored(store, step):
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return store.restore(step, {'params': store.abstract(step, 'params', here)})['params']


def test_saved_arrays_come_back_and_old_steps_go(bucket):
  with opened(bucket[0]) as store:
    trees = {step: save(store, step) for step in (1, 2, 3)}
    assert store.steps() == [2, 3]
  assert objects.names_in(bucket[0]) == ['2', '3']
  with CheckpointReader(bucket[0]) as store:
    assert store.latest_valid_step() == 3
    assert store.read_meta(2) == {'step': 2}
    for step in (2, 3):
      tiny_runs.assert_same(
        tiny_runs.named(restored(store, step)), tiny_runs.named(trees[step])
      )


def test_a_step_without_its_commit_is_absent_and_swept(bucket):
  with opened(bucket[0]) as store:
    save(store, 1)
    save(store, 2)
  (place(bucket[0]) / '2' / COMMIT).unlink()
  with CheckpointReader(bucket[0]) as store:
    assert store.steps() == [1]
  with opened(bucket[0]) as store:
    assert store.steps() == [1]
    assert objects.names_in(bucket[0]) == ['1']
    save(store, 2)


def test_a_damaged_step_is_named_and_set_aside(bucket):
  with opened(bucket[0]) as store:
    save(store, 1)
    save(store, 2)
  victim = max(
    (path for path, _ in objects.files_below(place(bucket[0]) / '2' / 'params')),
    key=objects.file_size,
  )
  content = bytearray(victim.read_bytes())
  content[len(content) // 2] ^= 1
  victim.write_bytes(bytes(content))
  said = []
  with CheckpointReader(bucket[0]) as store:
    with pytest.raises(CheckpointError, match='expected sha256') as error:
      store.require_valid(2)
    assert victim.parent.name.replace('.', '/') in str(error.value)
  with opened(bucket[0]) as store:
    assert store.latest_valid_step(said.append) == 1
    assert store.steps() == [1]
  (place_of,) = integrity.quarantined_steps(bucket[0])
  assert place_of.name == '2.damaged' and 'now' in said[0]
  assert objects.names_in(bucket[0]) == ['1', '2.damaged']


def test_a_missing_object_is_damage(bucket):
  with opened(bucket[0]) as store:
    save(store, 1)
  victim, _ = objects.files_below(place(bucket[0]) / '1' / 'params')[-1]
  victim.unlink()
  with CheckpointReader(bucket[0]) as store:
    with pytest.raises(CheckpointError, match='found no file'):
      store.require_valid(1)


def test_one_failing_request_in_ten_costs_no_step(bucket):
  bucket[1].every = 10
  with opened(bucket[0]) as store:
    trees = {step: save(store, step) for step in (1, 2)}
  bucket[1].every = 0
  with CheckpointReader(bucket[0]) as store:
    assert store.latest_valid_step() == 2
    got = tiny_runs.named(restored(store, 2))
  tiny_runs.assert_same(got, tiny_runs.named(trees[2]))
  assert bucket[1].failed > 5


def test_a_bucket_that_refuses_writes_fails_the_save(bucket):
  with opened(bucket[0]) as store:
    save(store, 1)
    bucket[1].refused = 'writes'
    with pytest.raises(StorageError, match='step 2 could not be saved') as error:
      save(store, 2)
    assert 'permission denied' in str(error.value)
    bucket[1].refused = ''
    assert store.steps() == [1]


class LosingLock:
  """A lock that is lost when the test says so."""

  is_lost = False

  def require(self):
    if self.is_lost:
      raise LostLease('the lock of this run is lost')

  confirm = require


def test_nothing_is_committed_once_the_lock_is_lost(bucket, monkeypatch):
  lock, write = LosingLock(), digests.write_manifest

  def write_and_lose(folder):
    write(folder)
    lock.is_lost = True

  with opened(bucket[0], lock=lock) as store:
    monkeypatch.setattr(digests, 'write_manifest', write_and_lose)
    with pytest.raises(LostLease, match='lock of this run is lost'):
      save(store, 1)
    assert store.steps() == []


def test_a_lost_lock_is_told_at_the_next_step(bucket):
  lock = LosingLock()
  with opened(bucket[0], lock=lock) as store:
    lock.is_lost = True
    with pytest.raises(LostLease):
      store.check()
    lock.is_lost = False


class UnsureLock:
  """A lock that cannot be renewed while `is_away`."""

  is_away = False

  def require(self):
    if self.is_away:
      raise UnsureLease('the lock could not be renewed')

  confirm = require


def test_while_the_lock_cannot_be_renewed_nothing_changes(bucket):
  lock = UnsureLock()
  with opened(bucket[0], lock=lock) as store:
    save(store, 1)
    lock.is_away = True
    theirs = place(bucket[0]) / '7' / 'params'  # of a start that may have taken it
    theirs.write_text('x')
    store.check()  # steps go on
    with pytest.raises(StorageError, match='step 2 .*could not be renewed'):
      save(store, 2)
    assert theirs.exists() and store.steps() == [1]
    lock.is_away = False
    save(store, 3)
    assert store.steps() == [1, 3]


def test_arrays_that_cannot_be_read_are_no_damage(bucket):
  with opened(bucket[0]) as store:
    save(store, 1)
    abstract = store.abstract(1, 'params', states.spread(8, ()))
  with CheckpointReader(bucket[0]) as store:
    store.require_valid(1)
    bucket[1].refused = 'arrays'
    with pytest.raises(StorageError, match='permission denied'):
      store.restore(1, {'params': abstract})
    with pytest.raises(StorageError, match='permission denied'):
      CheckpointReader(bucket[0])
    with pytest.raises(StorageError, match='permission denied'):
      opened(bucket[0])


def test_arrays_that_cannot_be_written_fail_the_save(bucket):
  with opened(bucket[0]) as store:
    save(store, 1)
    bucket[1].refused = 'arrays'
    with pytest.raises(StorageError, match='step 2 .*permission denied by'):
      save(store, 2)
    bucket[1].refused = ''
    assert store.steps() == [1]
