"""Files in an emulated bucket: whole, patient, one winner, appended in parts."""

import threading

import numpy as np
import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import growing, mirror, objects, versions
from gpt_jax.storage.bucket_paths import COMMIT
from gpt_jax.storage.places import place
from tests.storage.buckets import both

pytestmark = [pytest.mark.slow, both]


def test_what_is_written_is_read_listed_and_removed(bucket):
  folder = place(bucket[0])
  content = np.random.default_rng(0).bytes(9_000_000)
  (folder / 'a.txt').write_text('one')
  (folder / 'deep' / 'b.bin').write_bytes(content)
  assert objects.names_in(folder) == ['a.txt', 'deep']
  assert [size for _, size in objects.files_below(folder)] == [3, len(content)]
  with (folder / 'deep' / 'b.bin').open('rb') as file:
    file.seek(5_000_000)
    assert file.read(100) == content[5_000_000:5_000_100]
  assert (folder / 'deep').is_dir() and not (folder / 'de').exists()
  objects.append_text(folder / 'a.txt', ' two')
  assert (folder / 'a.txt').read_text() == 'one two'
  objects.remove_tree(folder)
  assert objects.names_in(folder) == [] and not folder.exists()


def test_one_request_in_three_may_fail(bucket):
  folder, faults = place(bucket[0]), bucket[1]
  faults.every = 3
  for number in range(8):
    (folder / str(number)).write_text(str(number))
  assert [(folder / str(n)).read_text() for n in range(8)] == list('01234567')
  assert faults.failed > 5


@pytest.mark.parametrize(
  'refused, said', [('all', 'no valid credentials'), ('writes', 'permission denied')]
)
def test_a_refusal_is_told_and_no_file_is_absent(bucket, refused, said):
  folder, faults = place(bucket[0]), bucket[1]
  (folder / 'a').write_text('x')
  faults.refused = refused
  with pytest.raises(StorageError, match=said) as error:
    (folder / 'b').write_text('y')
  assert error.value.exit_code == 5
  if refused == 'all':
    with pytest.raises(StorageError, match=said):
      (folder / 'a').exists()  # not: False


def test_a_bucket_that_is_not_there_is_told(bucket):
  gone = place(bucket[0].replace('test-bucket', 'not-there'))
  with pytest.raises(StorageError, match="no bucket 'not-there'"):
    (gone / 'a').write_text('x')


def test_of_many_writers_over_one_version_one_wins(bucket):
  path, won = place(bucket[0]) / 'lock', []
  versions.write_if(path, b'start', versions.ABSENT)
  version = versions.read(path).version

  def write(number):
    if versions.write_if(path, str(number).encode(), version):
      won.append(number)

  threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(won) == 1 and path.read_text() == str(won[0])


def test_what_was_removed_before_a_cut_connection_is_gone(bucket):
  folder, faults = place(bucket[0]), bucket[1]
  names = [folder / str(number) for number in range(8)]
  for name in names:
    name.write_text('x')
  faults.every = 2
  for name in names:
    name.unlink()
  faults.every = 0
  assert objects.names_in(folder) == []


def test_the_winner_of_a_cut_connection_knows_it(bucket):
  path, faults = place(bucket[0]) / 'lock', bucket[1]
  faults.every = 5 if bucket[0].startswith('s3') else 2  # s3fs waits longer
  for number in range(6):
    now = versions.read(path)
    version = now.version if now else versions.ABSENT
    assert versions.write_if(path, str(number).encode(), version)


def test_a_removed_step_loses_its_commit_first(bucket):
  step = place(bucket[0]) / '7'
  for name in ('a', COMMIT, 'z'):
    (step / name).write_text('x')
  copy = step.rename(place(bucket[0]) / '7.damaged')
  assert sorted(objects.names_in(copy)) == ['a', COMMIT, 'z']
  assert not step.exists() and objects.is_whole(copy)


def test_lines_are_there_after_a_flush_in_parts(bucket, monkeypatch):
  monkeypatch.setattr(growing, 'PART_BYTES', 100)
  folder = place(bucket[0]) / 'metrics.jsonl'
  file = growing.Growing(folder, growing.next_names(folder, '.jsonl'))
  lines = [f'line {number}\n'.encode() for number in range(50)]
  for line in lines:
    file.append(line)
  file.flush()
  assert growing.read_parts(folder) == b''.join(lines)
  assert len(objects.names_in(folder)) > 3
  assert growing.read_tail(folder).endswith(lines[-1])
  file.close()
  again = growing.Growing(
    folder, growing.next_names(folder, '.jsonl'), content=b'kept\n'
  )
  assert growing.read_parts(folder) == b'kept\n'
  growing.keep_newest(folder)
  assert len(objects.names_in(folder)) == 1
  again.close()


def test_lines_wait_while_the_bucket_does_not_answer(bucket):
  folder, faults = place(bucket[0]) / 'metrics.jsonl', bucket[1]
  file = growing.Growing(folder, growing.next_names(folder, '.jsonl'))
  file.append(b'one\n')
  faults.refused = 'writes'
  with pytest.raises(StorageError):
    file.flush()
  file.append(b'two\n')
  faults.refused = ''
  file.close()
  assert growing.read_parts(folder) == b'one\ntwo\n'


def test_copies_on_a_disk_are_made_once(bucket):
  folder = place(bucket[0])
  (folder / 'a.txt').write_text('one')
  first = mirror.kept(folder / 'a.txt')
  assert first.read_text() == 'one' and mirror.kept(folder / 'a.txt') == first
  (folder / 'a.txt').write_text('two')
  assert mirror.kept(folder / 'a.txt').read_text() == 'two'
  with mirror.copied(folder) as local:
    assert (local / 'a.txt').read_text() == 'two'
  assert (mirror.kept_folder(folder) / 'a.txt').read_text() == 'two'
