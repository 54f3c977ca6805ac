"""Whatever is done to a record is found, at its line."""

import json
import random

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import DataError
from gpt_jax.safety import audit, audit_check
from gpt_jax.safety.audit import AuditLog


@pytest.fixture
def path(tmp_path):
  file = tmp_path / 'audit.jsonl'
  with AuditLog(file) as log:
    for i in range(6):
      log.record({'rule': f'rule {i}', 'hits': i})
  return file


def changed(path, change):
  """Writes the lines of the log as `change(lines)` leaves them."""
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b''.join(change(lines)))


CHANGES = {
  'line 3: was changed': lambda lines: [
    line.replace(b'rule 2', b'rule 9') for line in lines
  ],
  'line 3: 1 record before it is missing': lambda lines: lines[:2] + lines[3:],
  'line 2: 1 record before it is missing': lambda lines: [
    lines[0], lines[2], lines[1], *lines[3:],
  ],
  'line 1: 2 records before it are missing': lambda lines: lines[2:],
  'line 4: stands in the wrong place': lambda lines: [
    *lines[:3], lines[1], *lines[3:],
  ],
  'line 2: is no record': lambda lines: [lines[0], b'x\n', *lines[1:]],
}  # fmt: skip


@pytest.mark.parametrize('message', CHANGES)
def test_what_was_done_is_told_with_its_line(path, message):
  changed(path, CHANGES[message])
  with pytest.raises(DataError, match=message):
    audit_check.verify(path)


def test_a_record_with_a_new_hash_breaks_the_next_one(path):
  def change(lines):
    record = json.loads(lines[2]) | {'hits': 99}
    return [*lines[:2], audit.encode(record), *lines[3:]]

  changed(path, change)
  with pytest.raises(DataError, match='line 4: does not follow from the record before'):
    audit_check.verify(path)


def test_any_changed_byte_is_found(path):
  content, rng = path.read_bytes(), random.Random(0)
  for place in rng.sample(range(len(content) - 1), 60):
    damaged = bytearray(content)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match='line'):
      audit_check.verify(path)


def test_an_end_that_was_cut_off_shows_by_its_hash(path):
  head = audit_check.verify(path).head
  changed(path, lambda lines: lines[:4])
  assert audit_check.verify(path).records == 4
  with pytest.raises(DataError, match='no record has the hash'):
    audit_check.verify(path, [head])


def test_the_command_names_the_line(path, capsys):
  assert cli.main(['audit', 'verify', str(path), '--json']) == 0
  found = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert found['records'] == 6
  assert cli.main(['audit', 'verify', str(path), f'--expect={found["head"]}']) == 0
  changed(path, CHANGES['line 3: was changed'])
  assert cli.main(['audit', 'verify', str(path)]) == 3
  assert 'audit.jsonl, line 3: was changed' in capsys.readouterr().err
