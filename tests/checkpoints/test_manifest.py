"""The list of a step's files: both versions are read, and changes to it noticed."""

import json
import random
import shutil

import pytest

from gpt_jax.checkpoints import digests, manifest, ocdbt
from gpt_jax.core.errors import CheckpointError
from tests.faults import flips


@pytest.fixture(scope='module')
def template(tmp_path_factory):
  return flips.make_steps(tmp_path_factory.mktemp('steps') / 'run')


@pytest.fixture
def step(template, tmp_path):
  return shutil.copytree(template / '3', tmp_path / '3')


def write_version_1(step):
  """Replaces the manifest of `step` by one with a digest a shard, as 602ca07 wrote."""
  files = {}
  for path in flips.files_of(step):
    name = path.relative_to(step).as_posix()
    item, _, file = name.partition('/')
    inside = ocdbt.readable_chunks(step / item).get(file, []) if file else []
    shards = {chunk.start: chunk for chunk in inside if chunk.stop > chunk.start}
    edges, size = {0}, path.stat().st_size
    edges |= {edge for c in shards.values() for edge in (c.start, c.stop)} - {size}
    parts = []
    for start, stop in zip(sorted(edges), [*sorted(edges)[1:], size], strict=True):
      arrays = shards[start].arrays if start in shards else ()
      with open(path, 'rb') as handle:
        digest = digests._hash(handle, start, stop - start)
      label = ', '.join(f'{item}/{array}' for array in arrays)
      parts.append([start, stop - start, label, digest])
    files[name] = dict(bytes=size, parts=parts)
  for name in (manifest.FILE, *digests.LATE):
    files.pop(name)
  content = dict(version=1, algorithm='sha256', files=files)
  (step / manifest.FILE).write_text(manifest._with_own_digest(content))


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


def test_a_step_of_version_1_is_valid_and_its_damage_named(step):
  write_version_1(step)
  assert digests.verify(step) == []
  assert sum(len(f.blocks) for f in manifest.read(step).values()) > len(
    manifest.read(step)
  )
  path = flips.flip_parameter(step)
  (found,) = digests.verify(step)
  assert found.file == path.relative_to(step).as_posix()
  assert found.arrays in ('params/embed', 'params/block/kernel')
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
