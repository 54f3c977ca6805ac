"""Every file of a step is covered by its digests, and the digests by their own."""

import json
import random
import shutil

import pytest

from gpt_jax.checkpoints import digests
from gpt_jax.core.errors import CheckpointError
from tests.faults import flips


@pytest.fixture(scope='module')
def template(tmp_path_factory):
  return flips.make_steps(tmp_path_factory.mktemp('steps') / 'whole')


@pytest.fixture
def step(template, tmp_path):
  return shutil.copytree(template / '3', tmp_path / '3')


def test_a_step_lists_every_file_and_is_sound(step):
  listed = digests.read(step)
  files = {p.relative_to(step).as_posix() for p in flips.files_of(step)}
  assert files - set(listed) == {digests.FILE, *digests.LATE}
  for name, entry in listed.items():
    at = 0
    for offset, length, _, digest in entry['parts']:
      assert offset == at and len(digest) == 64
      at += length
    assert at == entry['bytes'] == (step / name).stat().st_size
  assert digests.verify(step) == []
  assert digests.size(step) == sum(e['bytes'] for e in listed.values())


@pytest.mark.parametrize('damage', flips.DAMAGES)
def test_damage_to_any_file_is_noticed_and_named(template, tmp_path, damage):
  """Without loading anything; `test_fault_flips` goes the whole way."""
  rng = random.Random(damage)
  for file in flips.files_of(template / '3'):
    name = file.relative_to(template / '3').as_posix()
    step = shutil.copytree(template / '3', tmp_path / '3')
    flips.DAMAGES[damage](step / name, rng)
    found = digests.verify(step)
    expected = set() if name in digests.LATE else {name}
    assert {d.file for d in found} == expected
    shutil.rmtree(step)


def test_a_flip_anywhere_in_the_digests_themselves_is_noticed(step):
  path = step / digests.FILE
  content = path.read_bytes()
  rng = random.Random(0)
  for at in range(0, len(content), 13):
    changed = bytearray(content)
    changed[at] ^= 1 << rng.randrange(8)
    path.write_bytes(changed)
    (found,) = digests.verify(step)
    assert found.file == digests.FILE
  path.write_bytes(content)
  assert digests.verify(step) == []


def test_damage_is_named_by_the_array_whose_bytes_it_hit(step):
  listed = digests.read(step)
  places = [
    (name, offset, length, array)
    for name, entry in listed.items()
    for offset, length, array, _ in entry['parts']
  ]
  arrays = {array for *_, array in places}
  assert {'params/embed', 'params/block/kernel', 'train/mu'} <= arrays
  name, offset, length, array = next(p for p in places if p[3] == 'params/embed')
  path = step / name
  content = bytearray(path.read_bytes())
  content[offset + length // 2] ^= 128
  path.write_bytes(content)
  (found,) = digests.verify(step)
  assert (found.file, found.array) == (name, 'params/embed')
  assert 'expected sha256' in str(found) and f'in bytes {offset} to' in str(found)
  path.unlink()
  (found,) = digests.verify(step)
  assert 'params/embed' in found.array and 'found no file' in found.problem


def test_a_longer_file_and_an_added_one_are_noticed(step):
  with open(step / 'meta' / 'metadata', 'a') as file:
    file.write(' ')
  assert 'found' in str(*digests.verify(step))
  (step / 'params' / 'more').write_text('')
  assert any('was not saved' in str(d) for d in digests.verify(step))


def test_shares_of_several_processes_cover_every_file(step):
  files = [p for p in flips.files_of(step) if p.suffix != '.json']
  victims = [p for p in files if p.name not in digests.LATE]
  for path in victims:
    path.write_bytes(path.read_bytes()[:-1])
  found = [
    damage.file
    for index in range(3)
    for damage in digests.verify(step, share=(index, 3))
  ]
  assert sorted(found) == sorted(p.relative_to(step).as_posix() for p in victims)


def test_a_quick_look_sees_names_and_sizes_only(step):
  path = step / 'meta' / 'metadata'
  content = bytearray(path.read_bytes())
  content[0] ^= 1
  path.write_bytes(content)
  assert digests.verify(step, quick=True) == []
  path.write_bytes(content[:-1])
  assert 'expected' in str(*digests.verify(step, quick=True))


def test_every_byte_is_reported_to_a_progress_bar(step):
  counts = []
  digests.verify(step, on_bytes=counts.append)
  assert sum(counts) == digests.size(step)


@pytest.mark.parametrize('place', ['.', 'params', 'meta/metadata'])
def test_links_are_refused_even_to_the_right_bytes(step, tmp_path, place):
  moved = tmp_path / 'elsewhere'
  (step / place).rename(moved)
  (step / place).symlink_to(moved)
  assert any('a link or device' in str(d) for d in digests.links(step))
  assert any('link' in str(d) for d in digests.verify(step))


@pytest.mark.parametrize('path', ['../outside', '/etc/passwd', 'params/../../outside'])
def test_digests_that_lead_out_of_the_folder_are_refused_unopened(step, path):
  files = digests.read(step) | {path: dict(bytes=1, parts=[[0, 1, '', '0']])}
  content = dict(version=1, algorithm=digests.ALGORITHM, files=files)
  own = digests.hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
  text = json.dumps(content | {'own': own}, sort_keys=True) + '\n'
  (step / digests.FILE).write_text(text)
  assert digests.read(step) == files  # well signed, and yet:
  (found,) = digests.verify(step)
  assert found.file == path and 'leads out' in found.problem


@pytest.mark.parametrize('text', ['[]', '{}', '[' * 100_000, '\ud800', '{"files": 1}'])
def test_digests_that_are_no_digests_are_refused(step, text):
  (step / digests.FILE).write_bytes(text.encode(errors='surrogatepass'))
  with pytest.raises(CheckpointError, match='no usable digests'):
    digests.read(step)


def test_long_lists_of_damage_are_cut():
  damages = [digests.Damage(str(n), 'gone') for n in range(12)]
  assert digests.describe(damages).endswith('9: gone\n  ... and 2 more')
