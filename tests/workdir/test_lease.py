"""One writer of a workdir in a bucket: refused, waited for, taken over and said."""

import dataclasses
import time

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import versions
from gpt_jax.storage.places import place
from gpt_jax.workdir import lease, lock, owners
from tests.storage.buckets import both

pytestmark = [pytest.mark.slow, both]


def other_host():
  return dataclasses.replace(
    owners.this_process(), host='elsewhere', boot='another', pid=1
  )


def leave_lock(workdir, owner):
  path = place(workdir) / owners.LOCK_FILE
  return versions.write_if(path, lease._content(owner, 0), versions.ABSENT)


def test_a_second_start_is_refused_by_the_owners_name(bucket):
  with lock.held(bucket[0]) as me:
    assert lock.owner(bucket[0]) == me
    with pytest.raises(StorageError, match=f'process {me.pid} on') as error:
      with lock.held(bucket[0]):
        pass
    with pytest.raises(StorageError):
      lock.require_unlocked(bucket[0])
  assert error.value.exit_code == 5 and lock.owner(bucket[0]) is None


def test_the_lock_of_a_process_that_ended_here_is_taken_over(bucket):
  dead = dataclasses.replace(owners.this_process(), born='0')
  leave_lock(bucket[0], dead)
  said = []
  with lock.held(bucket[0], said.append):
    pass
  assert 'that process has ended' in said[0]


def test_a_lock_from_elsewhere_is_taken_over_once_it_expires(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'LEASE_SECONDS', 3.0)
  leave_lock(bucket[0], other_host())
  said, began = [], time.monotonic()
  with lock.held(bucket[0], said.append):
    assert time.monotonic() - began > 1.0
  assert 'waiting at most 3 s' in said[0] and 'took over' in said[1]
  assert 'last renewed' in said[1]


def test_a_lock_that_is_renewed_is_not_taken_over(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'RENEW_SECONDS', 0.2)
  path, owner = place(bucket[0]) / owners.LOCK_FILE, other_host()
  holding = lease.Lease(path, owner, leave_lock(bucket[0], owner).version)
  with pytest.raises(StorageError, match='has just renewed'):
    with lock.held(bucket[0], lambda _: None):
      pass
  holding.require()
  holding.release()
  assert lock.owner(bucket[0]) is None


def test_an_owner_that_lost_its_lock_stops(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'RENEW_SECONDS', 0.1)
  path = place(bucket[0]) / owners.LOCK_FILE
  with lease.held(bucket[0]) as mine:
    mine.require()
    path.write_bytes(lease._content(other_host(), 0))
    for _ in range(100):
      time.sleep(0.05)
      try:
        mine.require()
      except lease.LostLease as error:
        assert 'on elsewhere' in str(error) and 'has taken it' in str(error)
        break
    else:
      pytest.fail('the loss was not noticed')
  assert path.exists()  # it is another's: not removed


def test_an_owner_that_cannot_renew_may_commit_nothing(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'LEASE_SECONDS', -1.0)
  with lease.held(bucket[0]) as mine:
    with pytest.raises(lease.UnsureLease, match='could not be renewed'):
      mine.require()


def test_a_store_that_heeds_no_conditions_is_refused(bucket, monkeypatch):
  if bucket[0].startswith('gs'):
    pytest.skip('Google heeds ifGenerationMatch')
  put = versions.file_system('s3').call_s3
  ignored = []

  def call_s3(method, **options):
    return put(method, **{n: v for n, v in options.items() if n not in ignored})

  monkeypatch.setattr(versions.file_system('s3'), 'call_s3', call_s3)
  for name, said in (('IfMatch', 'If-Match'), ('IfNoneMatch', 'If-None-Match')):
    ignored[:] = [name]
    with pytest.raises(StorageError, match=f'does not heed {said} when'):
      with lock.held(bucket[0]):
        pass
  assert not (place(bucket[0]) / owners.LOCK_FILE).exists()


def test_an_earlier_start_of_a_job_is_given_time_to_stop(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'RENEW_SECONDS', 0.2)
  monkeypatch.setattr(lease, 'POLL_SECONDS', 0.5)
  path = place(bucket[0]) / owners.LOCK_FILE
  first = dataclasses.replace(other_host(), job='12')
  older = lease.Lease(path, first, leave_lock(bucket[0], first).version)
  monkeypatch.setenv('SLURM_JOB_ID', '12')
  monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
  said = []
  with lease.held(bucket[0], said.append) as mine:
    for has_noticed in (older.require, older.confirm):  # both before mine goes on
      with pytest.raises(lease.LostLease, match='has taken it'):
        has_noticed()
    mine.confirm()
  assert 'SLURM has started job 12 again' in said[0] and 'to notice' in said[1]
  older.release()


def test_a_loss_is_seen_at_a_commit_before_the_next_renewal(bucket):
  with lease.held(bucket[0]) as mine:
    mine.confirm()
    path = place(bucket[0]) / owners.LOCK_FILE
    path.write_bytes(lease._content(other_host(), 0))
    mine.require()  # not known yet
    with pytest.raises(lease.LostLease, match='on elsewhere, .* has taken'):
      mine.confirm()


def test_an_owner_that_nobody_replaced_keeps_its_lock(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'LEASE_SECONDS', 0.3)
  monkeypatch.setattr(lease, 'RENEW_SECONDS', 0.1)
  monkeypatch.setattr(lease, 'RETRY_SECONDS', 0.1)
  with lease.held(bucket[0]) as mine:
    bucket[1].refused = 'writes'  # it ends at once, as a network does not
    _until(lambda: _raises(mine.require, lease.UnsureLease))
    bucket[1].refused = ''
    _until(lambda: not _raises(mine.require, lease.UnsureLease))
  assert lock.owner(bucket[0]) is None


def test_a_renewal_whose_answer_was_lost_is_the_owners(bucket, monkeypatch):
  monkeypatch.setattr(lease, 'RENEW_SECONDS', 0.1)
  path = place(bucket[0]) / owners.LOCK_FILE
  with lease.held(bucket[0]) as mine:
    path.write_bytes(lease._content(mine.me, 10_000))
    renewed = versions.read(path).version
    _until(lambda: versions.read(path).version != renewed)
    mine.require()
  assert lock.owner(bucket[0]) is None


def _until(condition):
  for _ in range(100):
    if condition():
      return
    time.sleep(0.05)
  pytest.fail('it did not come true')


def _raises(action, kind):
  try:
    action()
  except kind:
    return True
  return False
