"""Files in an emulated bucket: whole, patient, one winner, appended in parts."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import bucket_paths, growing, mirror, objects, scratch, versions
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
    for read in (versions.read, bucket_paths.read, bucket_paths.look_up):
      with pytest.raises(StorageError, match=said):
        read(folder / 'a')


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


def test_copies_are_made_of_ranges_in_bounded_memory(bucket, tmp_path, monkeypatch):
  folder, faults = place(bucket[0]), bucket[1]
  contents = {f'{n}.bin': np.random.default_rng(n).bytes(n * 70_001) for n in range(5)}
  for name, content in contents.items():
    (folder / name).write_bytes(content)
  monkeypatch.setattr(bucket_paths, 'READ_BYTES', 1 << 14)
  sizes, read = [], bucket_paths.read

  def noting(path, start=None, stop=None):
    sizes.append(stop - start)
    return read(path, start, stop)

  monkeypatch.setattr(bucket_paths, 'read', noting)
  faults.every = 15
  copies = mirror.kept_all([folder / name for name in contents])
  found = [copy.read_bytes() for copy in copies]
  assert found == list(contents.values())
  assert max(sizes) == 1 << 14 and sum(sizes) == sum(map(len, found))
  assert mirror.kept_all([folder / '3.bin', folder / '1.bin']) == [copies[3], copies[1]]
  assert sum(sizes) == sum(map(len, found))  # nothing was read again


def test_an_object_written_while_it_is_copied_is_told(bucket, monkeypatch):
  path = place(bucket[0]) / 'a.bin'
  path.write_bytes(bytes(100_000))
  read = bucket_paths.read

  def overwriting(name, start=None, stop=None):
    content = read(name, start, stop)
    path.write_bytes(b'1' * 100_000)
    return content

  monkeypatch.setattr(bucket_paths, 'read', overwriting)
  with pytest.raises(StorageError, match='was written again or removed while'):
    mirror.kept(path)
  kept = scratch.folder('files')
  assert not [one for one in kept.rglob('*') if one.is_file()]


def test_processes_that_want_the_same_copy_it_once(bucket):
  path, faults = place(bucket[0]) / 'a.bin', bucket[1]
  path.write_bytes(bytes(20_000_000))
  program = (
    'import sys; from gpt_jax.storage import mirror;'
    'sys.stdout.write(str(mirror.kept(sys.argv[1])))'
  )
  before = faults.requests
  found = [
    subprocess.Popen(
      [sys.executable, '-c', program, str(path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(3)
  ]
  assert len({one.communicate()[0] for one in found}) == 1
  assert not any(one.returncode for one in found)
  ranges = -(-20_000_000 // bucket_paths.READ_BYTES)
  assert faults.requests - before < 2 * ranges + 3 * 3


def test_of_a_folder_only_what_is_wanted_is_copied(bucket):
  folder = place(bucket[0]) / 'set'
  for name in ('about.json', '1.0.0/a-00000-of-00001', '1.0.0/b-00000-of-00001'):
    (folder / name).write_text(name)
  about = mirror.kept_folder(folder, lambda name: name.endswith('.json'))
  assert [one.name for one in about.rglob('*')] == ['about.json']
  assert mirror.kept_folder(folder, lambda name: '/a-' in name) == about
  names = sorted(one.name for one in about.rglob('*') if one.is_file())
  assert names == ['a-00000-of-00001', 'about.json']


def test_what_is_written_to_a_copy_of_a_folder_is_uploaded(bucket, tmp_path):
  folder = place(bucket[0]) / 'report'
  for target in (folder, tmp_path):
    with mirror.written(target) as here:
      (here / 'deep').mkdir()
      (here / 'deep' / 'a.txt').write_text('a')
    assert (target / 'deep' / 'a.txt').read_text() == 'a'


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
