"""Damaged steps are quarantined; the newest valid one is used."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import pytest
import tensorstore as ts

from gpt_jax.checkpoints import digests, integrity, manifest, ocdbt
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError
from tests.checkpoints.states import open_all
from tests.faults import flips


@pytest.fixture(scope='module')
def template(tmp_path_factory):
  return flips.make_steps(tmp_path_factory.mktemp('steps') / 'undamaged')


@pytest.fixture
def folder(template, tmp_path):
  return shutil.copytree(template, tmp_path / 'run')


def damage(folder, step):
  (folder / str(step) / 'meta' / 'metadata').write_text('{}')


def test_damaged_steps_are_quarantined_and_nothing_is_deleted(folder):
  files = {p.relative_to(folder / '3') for p in flips.files_of(folder / '3')}
  damage(folder, 3)
  damage(folder, 2)
  reports = []
  with open_all(folder) as store:
    assert store.latest_valid_step(reports.append) == 1
    assert store.steps() == [1] and store.latest_step() == 1
    store.save(3, flips.arrays(3), {'again': True})  # its name is free
    assert store.latest_valid_step() == 3
  assert [p.name for p in integrity.quarantined_steps(folder)] == [
    '2.damaged', '3.damaged',
  ]  # fmt: skip
  moved = folder / '3.damaged'
  assert {p.relative_to(moved) for p in flips.files_of(moved)} == files
  assert 'meta/metadata: expected ' in reports[0] and '3.damaged' in reports[0]


def test_a_step_that_was_saved_incomplete_is_damaged(folder):
  """As the first edition saved it in a folder with brackets: its digests agree."""
  (folder / '3' / 'params' / ocdbt.MANIFEST).unlink()
  digests.write_manifest(folder / '3')
  with CheckpointReader(folder) as store:
    found = store.integrity.find_damage(3)
    assert 'params: saved incomplete: params/manifest.ocdbt was not' in found
    assert store.latest_valid_step(lambda _: None) == 2


def test_a_step_quarantined_twice_gets_a_name_of_its_own(folder):
  (folder / '3.damaged').mkdir()
  damage(folder, 3)
  with open_all(folder) as store:
    store.latest_valid_step(lambda _: None)
  assert (folder / '3.damaged-2' / 'meta').is_dir()


def test_a_reader_passes_over_damage_and_changes_nothing(folder):
  damage(folder, 3)
  reports = []
  with CheckpointReader(folder) as store:
    assert store.latest_valid_step(reports.append) == 2
    with pytest.raises(CheckpointError, match=r'3 is damaged:\n.*\n.*steps \[1, 2\]'):
      flips.restore(store, 3)
  assert 'passed over' in reports[0] and (folder / '3').is_dir()


def test_nothing_is_used_when_every_step_is_damaged(folder):
  for step in (1, 2, 3):
    damage(folder, step)
  with open_all(folder) as store:
    with pytest.raises(CheckpointError, match='every step is damaged') as error:
      store.latest_valid_step(lambda _: None)
  assert error.value.exit_code == 4


def test_a_folder_without_steps_has_no_valid_one(tmp_path):
  with open_all(tmp_path) as store:
    assert store.latest_valid_step() is None


def test_a_step_saved_before_digests_is_used_and_reported(folder):
  record = folder / '3' / 'meta' / 'metadata'
  record.write_text(json.dumps({'meta': {'next_sample': 3}, 'metrics': {}}))
  (folder / '3' / manifest.FILE).unlink()
  reports = []
  with open_all(folder) as store:
    assert store.latest_valid_step(reports.append) == 3
    assert flips.same(flips.restore(store, 3), flips.arrays(3))
  assert 'saved without digests' in reports[0]
  # But not when it has links, and not when it was saved with digests.
  record.rename(folder / 'elsewhere')
  record.symlink_to(folder / 'elsewhere')
  assert 'a link' in integrity.Integrity(folder).find_damage(3)
  (folder / '2' / manifest.FILE).unlink()
  assert 'no usable digests' in integrity.Integrity(folder).find_damage(2)


def test_chunks_larger_than_their_array_are_refused_unread(tmp_path):
  with open_all(tmp_path) as store:
    store.save(1, {'params': {'w': jnp.arange(8.0)}}, {})
  item = tmp_path / '1' / 'params'
  spec = {'driver': 'ocdbt', 'base': f'file://{item}/'}
  layouts = ts.KvStore.open(spec).result()
  layout = json.loads(layouts['w/.zarray'])
  layouts['w/.zarray'] = json.dumps(layout | {'chunks': [1 << 34]})
  digests.write_manifest(tmp_path / '1')  # an attacker can write digests, too
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = jax.ShapeDtypeStruct((8,), jnp.float32, sharding=here)
  with CheckpointReader(tmp_path) as store:
    with pytest.raises(CheckpointError, match=r'w has the shape \[8\] and declares'):
      store.restore(1, {'params': {'w': wanted}})


def test_a_small_file_that_declares_a_huge_array_is_refused(tmp_path):
  zeros = jnp.zeros((1 << 22,))
  with open_all(tmp_path) as store:
    store.save(1, {'params': {'w': zeros}}, {})
    assert sum(p.stat().st_size for p in flips.files_of(tmp_path)) < 50_000
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    huge = jax.ShapeDtypeStruct((1 << 40,), jnp.float32, sharding=here)
    with pytest.raises(CheckpointError, match='wanted float32'):
      store.restore(1, {'params': {'w': huge}})
    store._saved_tree = lambda *_: {'w': huge}  # as a crafted file would say
    with pytest.raises(CheckpointError, match='declares arrays of .* params/w'):
      store.restore(1, {'params': store.abstract(1, 'params', here)})


def test_a_file_of_zeros_is_refused_before_decompression(tmp_path):
  with open_all(tmp_path) as store:
    store.save(1, {'params': {'w': jnp.zeros((1 << 26,))}}, {})
  assert sum(p.stat().st_size for p in flips.files_of(tmp_path)) < 1_000_000
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = jax.ShapeDtypeStruct((8,), jnp.float32, sharding=here)
  with CheckpointReader(tmp_path) as store:
    with grown() as refused:
      with pytest.raises(CheckpointError, match=r'w: saved float32\[67108864\]'):
        store.restore(1, {'params': {'w': wanted}})
    with grown() as loaded:  # and it is a bomb, for who asks for it
      store.restore(1, {'params': store.abstract(1, 'params', here)})
  assert refused.bytes < 50e6 and loaded.bytes > 200e6


@contextlib.contextmanager
def grown():
  """Gives an object whose `bytes` is by how much memory grew at most in the block."""
  found = types.SimpleNamespace()
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
  before = status('VmRSS')
  yield found
  found.bytes = status('VmHWM') - before


def status(name):
  lines = pathlib.Path('/proc/self/status').read_text().splitlines()
  (value,) = (line.split()[1] for line in lines if line.startswith(name))
  return int(value) * 1024


# Protocol 0 of pickle: os.system('touch NAME'). Whoever loads it runs it.
CANARY = "cos\nsystem\n(S'touch {}'\ntR."
LOADER = 'import pickle, sys; pickle.load(open(sys.argv[1], "rb"))'


def test_no_file_of_a_step_is_executed(folder, tmp_path):
  marker, canary = tmp_path / 'marker', tmp_path / 'canary'
  canary.write_text(CANARY.format(marker))
  subprocess.run([sys.executable, '-c', LOADER, canary], check=True)
  assert marker.exists()  # loaded, it runs
  marker.unlink()
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  newest, opened = folder / '3', 0
  for path in flips.files_of(newest):
    content = path.read_bytes()
    path.write_text(canary.read_text())
    for name in ('state.pkl', 'params/array.npy'):
      shutil.copy(canary, newest / name)
    if path.name != manifest.FILE:
      with contextlib.suppress(Exception):  # an attacker can write digests, too
        digests.write_manifest(newest)
    with CheckpointReader(folder) as store, contextlib.suppress(CheckpointError):
      for item in store.items(3):
        with contextlib.suppress(CheckpointError):
          store.restore(3, {item: store.abstract(3, item, here)})
          opened += 1
      store.read_meta(3)
    path.write_bytes(content)
    assert not marker.exists(), path
  assert opened  # some passed the digests and were read
