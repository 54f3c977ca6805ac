"""Damage to any file of a step is noticed and named."""

import json
import random
import shutil

import pytest

from gpt_jax.checkpoints import digests, manifest, ocdbt
from gpt_jax.core.errors import StorageError
from tests.faults import flips


@pytest.fixture(scope='module')
def template(tmp_path_factory):
  return flips.make_steps(tmp_path_factory.mktemp('steps') / 'undamaged')


@pytest.fixture
def step(template, tmp_path):
  return shutil.copytree(template / '3', tmp_path / '3')


@pytest.mark.parametrize('damage', flips.DAMAGES)
def test_damage_to_any_file_is_noticed_and_named(template, tmp_path, damage):
  """By the files alone; tests/faults/test_flips.py restores as well."""
  rng = random.Random(damage)
  for file in flips.files_of(template / '3'):
    name = file.relative_to(template / '3').as_posix()
    step = shutil.copytree(template / '3', tmp_path / '3')
    flips.DAMAGES[damage](step / name, rng)
    found = digests.verify(step)
    expected = set() if name in digests.LATE else {name}
    assert {d.file for d in found} == expected
    shutil.rmtree(step)


def test_damage_names_the_arrays_in_its_block(step, monkeypatch):
  monkeypatch.setattr(manifest, 'BLOCK_BYTES', 512)  # not all arrays in one block
  digests.write_manifest(step)
  item, chunks = step / 'params', ocdbt.readable_chunks(step / 'params')
  file, chunk = next(
    (file, chunk)
    for file, inside in chunks.items()
    for chunk in inside
    if chunk.arrays == ('embed',)
  )
  content = bytearray((item / file).read_bytes())
  content[(chunk.start + chunk.stop) // 2] ^= 128
  (item / file).write_bytes(content)
  (found,) = digests.verify(step)
  assert (found.file, found.arrays) == (f'params/{file}', 'params/embed')
  assert 'expected sha256' in str(found) and 'in bytes ' in str(found)
  (item / file).unlink()
  (found,) = digests.verify(step)
  assert 'params/embed' in found.arrays and 'found no file' in found.reason


def test_damage_to_the_databases_is_named_by_file_and_bytes(step):
  for path in (step / 'params').rglob(ocdbt.MANIFEST):
    path.write_bytes(b'no database')
  (step / 'params' / '_METADATA').write_text('{')
  path = max((step / 'params').rglob('d/*'), key=lambda path: path.stat().st_size)
  path.write_bytes(bytes(path.stat().st_size))
  found = {d.file: d for d in digests.verify(step)}
  damage = found[path.relative_to(step).as_posix()]
  assert damage.arrays == '' and 'in bytes 0 to ' in damage.reason


@pytest.mark.parametrize('change', [lambda f: f.unlink(), lambda f: f.write_text('x')])
def test_a_file_that_shrinks_before_the_commit_fails_the_save(step, change):
  digests.write_part(step / 'params', 0)
  file = next((step / 'params' / 'ocdbt.process_0' / 'd').iterdir())
  change(file)
  with pytest.raises(StorageError, match=f'{file.name}: .* bytes were written, found'):
    digests.write_manifest(step)


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


def test_a_quick_check_compares_names_and_sizes_only(step):
  path = step / 'meta' / 'metadata'
  content = bytearray(path.read_bytes())
  content[0] ^= 1
  path.write_bytes(content)
  assert digests.verify(step, quick=True) == []
  path.write_bytes(content[:-1])
  assert 'expected' in str(*digests.verify(step, quick=True))


def test_progress_reports_every_byte(step):
  counts = []
  digests.verify(step, on_bytes=counts.append)
  assert sum(counts) == manifest.total_bytes(step)


@pytest.mark.parametrize('place', ['.', 'params', 'meta/metadata'])
def test_links_are_refused_even_to_the_right_bytes(step, tmp_path, place):
  moved = tmp_path / 'elsewhere'
  (step / place).rename(moved)
  (step / place).symlink_to(moved)
  assert any('a link or device' in str(d) for d in digests.links(step))
  assert any('link' in str(d) for d in digests.verify(step))


@pytest.mark.parametrize('path', ['../outside', '/etc/passwd', 'params/../../outside'])
def test_paths_that_lead_out_of_the_folder_are_refused_unopened(step, path):
  entries = json.loads((step / manifest.FILE).read_text())['files']
  text = manifest.dumps(entries | {path: dict(bytes=1, blocks=['0'])})
  (step / manifest.FILE).write_text(text)
  assert path in manifest.read(step)  # its digests are right, and yet:
  (found,) = digests.verify(step)
  assert found.file == path and 'leads out' in found.reason


def test_long_lists_of_damage_are_shortened():
  damages = [digests.Damage(str(n), 'missing') for n in range(12)]
  assert digests.describe(damages).endswith('9: missing\n  ... and 2 more')
