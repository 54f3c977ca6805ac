"""The list of a step's files: both versions are read, and changes to it noticed."""

import json
import pathlib
import random
import shutil
import zipfile

import pytest

from gpt_jax.checkpoints import digests, manifest
from gpt_jax.core.errors import CheckpointError
from tests.faults import flips

FIRST_EDITION = pathlib.Path(__file__).parents[1] / 'train' / 'first_edition.zip'


@pytest.fixture(scope='module')
def template(tmp_path_factory):
  return flips.make_steps(tmp_path_factory.mktemp('steps') / 'run')


@pytest.fixture
def step(template, tmp_path):
  return shutil.copytree(template / '3', tmp_path / '3')


def test_every_file_is_listed_with_blocks_that_cover_it(step):
  listed = manifest.read(step)
  files = {p.relative_to(step).as_posix() for p in flips.files_of(step)}
  assert files - set(listed) == {manifest.FILE, *digests.LATE}
  for name, file in listed.items():
    edges = [0, *(block.stop for block in file.blocks)]
    assert edges[:-1] == [block.start for block in file.blocks]
    assert edges[-1] == file.size == (step / name).stat().st_size
    assert all(len(block.digest) == 64 for block in file.blocks)
  assert manifest.total_bytes(step) == sum(f.size for f in listed.values())


def test_blocks_cover_empty_and_large_files():
  size = 2 * manifest.BLOCK_BYTES + 5
  entries = {
    'empty': dict(bytes=0, blocks=['a']),
    'large': dict(bytes=size, blocks=['b', 'c', 'd']),
  }
  files = manifest._parse_version_2(json.loads(manifest.dumps(entries)))
  assert [(b.start, b.length) for b in files['empty'].blocks] == [(0, 0)]
  assert [b.length for b in files['large'].blocks] == [1 << 22, 1 << 22, 5]


@pytest.fixture
def version_1_step(tmp_path):
  """Returns a step that commit 602ca07 has saved."""
  with zipfile.ZipFile(FIRST_EDITION) as archive:
    archive.extractall(tmp_path)
  return tmp_path / 'checkpoints' / '4'


def test_a_step_of_version_1_is_valid_and_its_damage_named(version_1_step):
  step = version_1_step
  assert json.loads((step / manifest.FILE).read_text())['version'] == 1
  assert digests.verify(step) == []
  path = flips.flip_parameter(step)
  (found,) = digests.verify(step)
  assert found.file == path.relative_to(step).as_posix()
  assert found.arrays.startswith('params/') and 'in bytes ' in found.reason
  shutil.rmtree(step / 'params')  # the names come from the manifest alone
  assert any('params/embed' in damage.arrays for damage in digests.verify(step))


def test_a_flip_anywhere_in_the_manifest_is_noticed(step):
  path = step / manifest.FILE
  content = path.read_bytes()
  rng = random.Random(0)
  for at in range(0, len(content), 13):
    changed = bytearray(content)
    changed[at] ^= 1 << rng.randrange(8)
    path.write_bytes(changed)
    (found,) = digests.verify(step)
    assert found.file == manifest.FILE
  path.write_bytes(content)
  assert digests.verify(step) == []


@pytest.mark.parametrize('text', ['[]', '{}', '[' * 100_000, '\ud800', '{"files": 1}'])
def test_what_is_no_manifest_is_refused(step, text):
  (step / manifest.FILE).write_bytes(text.encode(errors='surrogatepass'))
  with pytest.raises(CheckpointError, match='no usable digests'):
    manifest.read(step)


@pytest.mark.parametrize(
  'change',
  [
    dict(version=3),
    dict(files=[]),
    dict(block_bytes=0),
    dict(block_bytes=1 << 40),
    dict(files={'a': dict(bytes=-1, blocks=[])}),
    dict(files={'a': dict(bytes='1', blocks=['0'])}),
  ],
)
def test_a_well_digested_manifest_of_another_form_is_refused(step, change):
  content = json.loads((step / manifest.FILE).read_text())
  del content['own']
  content['files']['large'] = dict(bytes=1 << 23, blocks=['0', '0'])
  (step / manifest.FILE).write_text(manifest._with_own_digest(content | change))
  with pytest.raises(CheckpointError, match='no usable digests'):
    manifest.read(step)
