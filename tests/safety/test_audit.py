"""Records are chained, on the disk at once, and survive crashes and rotation."""

import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.safety import audit, audit_check
from gpt_jax.safety.audit import AuditLog


def records(path):
  return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path, count=5, **options):
  with AuditLog(path, **options) as log:
    for i in range(count):
      log.record({'rule': f'r{i}', 'key': None})
    return log.head


def test_each_record_has_the_hash_of_the_one_before(tmp_path):
  path = tmp_path / 'audit.jsonl'
  head = write(path)
  found = records(path)
  assert [one['number'] for one in found] == [1, 2, 3, 4, 5]
  hashes = [one.pop('hash') for one in found]
  assert [one['previous'] for one in found] == ['0' * 64, *hashes[:-1]]
  for one, given in zip(found, hashes, strict=True):
    plain = json.dumps(dict(sorted(one.items())), separators=(',', ':'))
    assert hashlib.sha256(plain.encode()).hexdigest() == given
  assert head == hashes[-1]


def test_a_log_goes_on_after_a_restart(tmp_path):
  path = tmp_path / 'audit.jsonl'
  write(path, 3)
  head = write(path, 2)
  report = audit_check.verify(path)
  assert (report.records, report.head, report.notes) == (5, head, [])


def test_threads_write_whole_records(tmp_path):
  path = tmp_path / 'audit.jsonl'
  with AuditLog(path) as log:
    threads = [
      threading.Thread(target=lambda: [log.record({'a': 1}) for _ in range(20)])
      for _ in range(8)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
  assert audit_check.verify(path).records == 160


def test_the_chain_goes_on_in_the_next_file(tmp_path):
  path = tmp_path / 'audit.jsonl'
  write(path, 12, max_bytes=500)
  write(path, 12, max_bytes=500)
  assert len(audit.parts(path)) > 3
  assert audit_check.verify(path).records == 24
  audit.parts(path)[1].unlink()
  with pytest.raises(DataError, match=r'000003, line 1: \d records before it are miss'):
    audit_check.verify(path)


@pytest.mark.parametrize('cut', [1, 20, 60])
def test_a_line_that_a_crash_left_is_taken_off(tmp_path, cut):
  path = tmp_path / 'audit.jsonl'
  write(path, 3)
  whole = path.read_bytes()
  path.write_bytes(whole[:-cut])
  rest = whole[:-cut].rpartition(b'\n')[2]
  assert 'unfinished' in audit_check.verify(path).notes[0]
  write(path, 1)
  repaired = records(path)[2]
  assert (repaired['event'], repaired['bytes']) == ('repaired', len(rest))
  assert repaired['sha256'] == hashlib.sha256(rest).hexdigest()
  assert audit_check.verify(path).records == 4


def test_a_killed_writer_leaves_a_log_that_holds(tmp_path):
  path = tmp_path / 'audit.jsonl'
  code = (
    'from gpt_jax.safety.audit import AuditLog\n'
    f'log = AuditLog({str(path)!r})\n'
    'print(log.record({"a": 1}), flush=True)\n'
    'while True: log.record({"a": 2})'
  )
  writer = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
  assert writer.stdout is not None
  first = writer.stdout.readline().decode().strip()
  writer.kill()
  writer.communicate()
  write(path, 1)
  report = audit_check.verify(path, [first])
  assert report.records >= 2


def test_a_second_process_is_refused(tmp_path):
  path = tmp_path / 'audit.jsonl'
  with AuditLog(path):
    with pytest.raises(StorageError, match='another process writes it'):
      AuditLog(path)
  write(path, 1)


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path, monkeypatch):
  path = tmp_path / 'audit.jsonl'
  with AuditLog(path) as log:
    log.record({'a': 1})
    write_all = os.write

    def half(file, content):
      write_all(file, content[:10])
      raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'write', half)
    with pytest.raises(StorageError, match='No space left'):
      log.record({'a': 2})
    monkeypatch.undo()
    log.record({'a': 3})
  assert audit_check.verify(path).records == 2


def test_a_last_line_that_is_no_record_stops_the_start(tmp_path):
  path = tmp_path / 'audit.jsonl'
  path.write_text('hello\n')
  with pytest.raises(DataError, match='its last line is no record'):
    AuditLog(path)
