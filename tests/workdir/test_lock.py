"""One writer per workdir, by real processes; the lock of a dead one is taken over."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.workdir import files, lease, lock
from gpt_jax.workdir.paths import Workdir

ROOT = pathlib.Path(__file__).parents[2]
CONTENDER = """
import sys, time
from gpt_jax.workdir import lock
from gpt_jax.core.errors import StorageError

print('ready', flush=True)
sys.stdin.readline()
try:
  with lock.held(sys.argv[1], report=lambda text: print('took over', flush=True)):
    print('holds', flush=True)
    sys.stdin.readline()
except StorageError as error:
  print('refused', error, flush=True)
"""


class Contender:
  """A process that tries to hold the lock of `folder` once `go` is called."""

  def __init__(self, folder):
    self.process = subprocess.Popen(
      [sys.executable, '-c', CONTENDER, folder],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=os.environ | {'PYTHONPATH': str(ROOT)},
    )
    assert self.read() == 'ready'

  def go(self):
    self.process.stdin.write('\n')
    self.process.stdin.flush()

  def read(self):
    return self.process.stdout.readline().strip()

  def verdict(self):
    """Returns what it printed about the lock, the last line first."""
    lines = [self.read()]
    while lines[-1] == 'took over':
      lines.append(self.read())
    return lines[::-1]

  def kill(self):
    self.process.send_signal(signal.SIGKILL)
    self.process.wait()

  def end(self):
    self.process.communicate('\n')


def leave_a_dead_lock(folder):
  dead = Contender(folder)
  dead.go()
  assert dead.read() == 'holds'
  dead.kill()


@pytest.mark.parametrize('is_stale', [False, True], ids=['free', 'stale'])
def test_of_many_simultaneous_starts_exactly_one_wins(tmp_path, is_stale):
  if is_stale:
    leave_a_dead_lock(tmp_path)
  contenders = [Contender(tmp_path) for _ in range(5)]
  for contender in contenders:
    contender.go()
  verdicts = [contender.verdict() for contender in contenders]
  winners = [c for c, v in zip(contenders, verdicts, strict=True) if v[0] == 'holds']
  assert len(winners) == 1
  assert sum('took over' in verdict for verdict in verdicts) == is_stale
  (winner,) = winners
  for verdict in verdicts:
    if verdict[0] != 'holds':
      assert f'process {winner.process.pid} on ' in verdict[0]
  assert lock.owner(tmp_path).pid == winner.process.pid
  for contender in contenders:
    contender.end()
  assert list(tmp_path.iterdir()) == []  # released, nothing left behind


def test_taking_over_a_lock_names_the_killed_owner(tmp_path):
  leave_a_dead_lock(tmp_path)
  dead = lock.owner(tmp_path)
  reports = []
  with lock.held(tmp_path, reports.append) as me:
    assert lock.owner(tmp_path) == me
  assert len(reports) == 1 and f'took over the lock of process {dead.pid}' in reports[0]
  assert lock.owner(tmp_path) is None


def test_a_lock_of_a_living_process_is_refused_with_a_remedy(tmp_path):
  with lock.held(tmp_path) as me:
    with pytest.raises(StorageError) as error:
      with lock.held(tmp_path):
        raise AssertionError
    assert lock.owner(tmp_path) == me
  assert error.value.exit_code == 5
  for part in (str(me.pid), me.host, me.since, '--workdir', lock.FILE):
    assert part in str(error.value)


@pytest.mark.parametrize(
  'other, is_taken',
  [
    (dict(host='elsewhere', boot='other', pid=1), False),
    (dict(space='pid:[1]', born='1'), False),  # another container of this host
    (dict(boot='an earlier one'), True),  # this host went down since
    (dict(born='1'), True),  # the id belongs to a later process now
  ],
)
def test_only_an_owner_that_has_surely_ended_is_replaced(tmp_path, other, is_taken):
  with lock.held(tmp_path) as me:
    pass
  owner = dataclasses.replace(me, **other)
  path = tmp_path / lock.FILE
  files.write_text(path, json.dumps(dataclasses.asdict(owner)))
  if is_taken:
    with lock.held(tmp_path, lambda _: None):
      pass
    assert not path.exists()
  else:
    with pytest.raises(StorageError, match=f'{owner.host}.*cannot be determined'):
      with lock.held(tmp_path):
        raise AssertionError
    assert lock.owner(tmp_path) == owner


def test_a_lock_that_cannot_be_read_is_respected(tmp_path):
  (tmp_path / lock.FILE).write_text('')
  with pytest.raises(StorageError, match='cannot be read'):
    with lock.held(tmp_path):
      raise AssertionError


def test_the_lock_is_released_after_an_exception(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with lock.held(tmp_path):
      raise KeyboardInterrupt
  with Workdir(tmp_path).lock():
    assert (tmp_path / lock.FILE).exists()
  assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_owner_is_not_released(tmp_path):
  with lock.held(tmp_path) as me:
    other = dataclasses.replace(me, token='other')
    text = json.dumps(dataclasses.asdict(other))
    files.write_text(tmp_path / lock.FILE, text)
  assert lock.owner(tmp_path) == other


def test_a_requeued_job_takes_over_from_another_node(tmp_path, monkeypatch):
  monkeypatch.setenv('SLURM_JOB_ID', '12')
  first = dataclasses.replace(lock.this_process(), host='n1', boot='', pid=1)
  path = tmp_path / lock.FILE
  files.write_text(path, json.dumps(dataclasses.asdict(first)))
  with pytest.raises(StorageError, match='cannot be determined'):
    lock.require_unlocked(tmp_path)  # of the same start: a second writer

  said = []
  monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
  with lock.held(tmp_path, report=said.append):
    assert 'took over the lock of process 1 on n1' in said[0]
    assert 'SLURM has started job 12 again' in said[0]
  files.write_text(path, json.dumps(dataclasses.asdict(first)))
  monkeypatch.setenv('SLURM_JOB_ID', '13')
  with pytest.raises(StorageError, match='cannot be determined'):
    lock.require_unlocked(tmp_path)


def leave_lock(folder, *, age, **other):
  """Leaves the lock of a process elsewhere that renewed it `age` s ago."""
  owner = dataclasses.replace(lock.this_process(), host='n1', pid=1, **other)
  fields = dataclasses.asdict(owner) | {lock.RENEWED: lease.RENEW_SECONDS}
  files.write_text(folder / lock.FILE, json.dumps(fields))
  then = time.time() - age
  os.utime(folder / lock.FILE, (then, then))


def test_a_lock_from_elsewhere_that_expired_is_taken_over(tmp_path):
  said = []
  leave_lock(tmp_path, age=20)
  assert lock.living_owner(tmp_path).host == 'n1'
  leave_lock(tmp_path, age=90)
  assert lock.living_owner(tmp_path) is None
  with lock.held(tmp_path, said.append):
    pass
  assert len(said) == 1 and 'it was last renewed 90 s ago' in said[0]
  assert list(tmp_path.iterdir()) == []


def test_a_lock_from_elsewhere_is_waited_for(tmp_path, monkeypatch):
  said, waits = [], [lambda: None, lambda: leave_lock(tmp_path, age=0)]
  monkeypatch.setattr(lock.time, 'sleep', lambda seconds: waits.pop(0)())
  leave_lock(tmp_path, age=20)
  with pytest.raises(StorageError, match='cannot be determined'):
    lock.require_unlocked(tmp_path)
  with pytest.raises(StorageError, match='n1.* is at work there'):
    with lock.held(tmp_path, said.append):
      raise AssertionError
  assert len(said) == 1 and 'waiting at most 60 s' in said[0] and not waits


def test_a_lock_is_renewed_while_it_is_held(tmp_path, monkeypatch):
  monkeypatch.setattr(lease, 'RENEW_SECONDS', 0.02)
  with lock.held(tmp_path):
    os.utime(tmp_path / lock.FILE, (0, 0))
    deadline = time.monotonic() + 10
    while (tmp_path / lock.FILE).stat().st_mtime == 0:
      assert time.monotonic() < deadline
      time.sleep(0.01)


def test_an_owner_whose_lock_was_taken_or_removed_stops(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, 'LOOK_SECONDS', 0.0)
  with lock.holding(tmp_path) as mine:
    mine.require()
    leave_lock(tmp_path, age=0, token='other')
    with pytest.raises(lease.LostLease, match='process 1 on n1, .* has taken') as error:
      mine.require()
    assert error.value.exit_code == 5
    (tmp_path / lock.FILE).unlink()
    with pytest.raises(lease.LostLease, match='somebody has taken or removed it'):
      mine.confirm()


def test_a_lock_is_released_where_there_are_no_file_locks(tmp_path, monkeypatch):
  def flock(handle, kind):
    raise OSError(95, 'Operation not supported')

  monkeypatch.setattr(lock.fcntl, 'flock', flock)
  with lock.held(tmp_path):
    pass
  assert list(tmp_path.iterdir()) == []
