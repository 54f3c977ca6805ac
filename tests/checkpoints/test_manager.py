"""Steps are saved whole or not at all; the newest and the best are kept."""

import dataclasses
import json
import os
import pathlib
import resource
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts

from gpt_jax.checkpoints import handler, integrity, manager, ocdbt
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError, ConfigError, StorageError
from gpt_jax.workdir import files, lock
from gpt_jax.workdir.lease import LostLease
from tests.checkpoints.states import (
  a_state,
  abstract,
  assert_bit_equal,
  open_all,
  save_steps,
  spread,
)
from tests.faults import kills


@pytest.mark.parametrize('asynchronous', [False, True])
def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path, asynchronous):
  items = a_state()
  with open_all(tmp_path, asynchronous=asynchronous) as saved:
    saved.save(3, items, {'next_sample': 96}, {'loss': 2.5})
  with open_all(tmp_path) as fresh:
    assert fresh.latest_step() == 3
    assert_bit_equal(fresh.restore(3, abstract(items)), items)
    assert fresh.read_meta(3) == {'next_sample': 96}
    assert fresh.read_metrics(3) == {'loss': 2.5}


def test_arrays_come_back_on_any_number_of_devices(tmp_path):
  items = {'params': a_state(sharding=spread(8, ()))['params']}
  items = jax.device_put(items, spread(8))
  for step, devices in enumerate([4, 1, 8, 2]):
    with open_all(tmp_path) as saved:
      saved.save(step, items, {})
      target = abstract(items, spread(devices))
      restored = saved.restore(step, target)
    assert_bit_equal(restored, items)
    assert restored['params']['embed'].sharding == spread(devices)
    items = restored


def test_donating_arrays_after_an_asynchronous_save_is_harmless(tmp_path):
  arrays = jax.device_put({'w': jnp.arange(1 << 16, dtype=jnp.float32)}, spread(8))
  wanted = np.asarray(arrays['w'])
  overwrite = jax.jit(lambda t: jax.tree.map(lambda x: x * 0 - 1, t), donate_argnums=0)
  with open_all(tmp_path, asynchronous=True) as saved:
    target = abstract(arrays)
    saved.save(1, {'params': arrays}, {})
    arrays = jax.block_until_ready(overwrite(arrays))
    saved.wait()
    restored = saved.restore(1, {'params': target})
  np.testing.assert_array_equal(restored['params']['w'], wanted)


# A lock that another process has taken


def test_a_process_whose_lock_was_taken_commits_no_step(tmp_path, monkeypatch):
  checkpoints, items, others = tmp_path / 'checkpoints', a_state(), []
  write = manager.digests.write_manifest
  with lock.holding(tmp_path) as mine, open_all(checkpoints, lock=mine) as saved:
    saved.save(1, items, {})
    saved.wait()

    def write_and_lose(folder):
      write(folder)
      other = dataclasses.replace(mine.me, host='n2', token='other')
      files.write_text(tmp_path / lock.FILE, json.dumps(dataclasses.asdict(other)))
      others.append(checkpoints / '9.orbax-checkpoint-tmp')
      others[0].mkdir()  # a save that the other has under way

    monkeypatch.setattr(manager.digests, 'write_manifest', write_and_lose)
    with pytest.raises(LostLease, match='on n2, .* has taken'):
      saved.save(2, items, {})
      saved.wait()
    assert saved.steps() == [1] and others[0].exists()
    with pytest.raises(LostLease):
      saved.save(3, items, {})
  assert integrity.committed(checkpoints) == [1]
  assert lock.owner(tmp_path).token == 'other'


# Which steps there are


def test_the_newest_and_the_best_steps_stay(tmp_path):
  options = dict(keep_last=2, keep_best=1)
  with open_all(tmp_path, **options) as saved:
    save_steps(saved, [5.0, 3.0, None, 4.0, 6.0])
    assert saved.steps() == [2, 4, 5]
    assert saved.best_step() == 2
  with open_all(tmp_path, **options) as resumed:  # the best is known after a restart
    save_steps(resumed, [3.5, 2.0, 9.0], first=6)
    assert resumed.steps() == [7, 8] and resumed.best_step() == 7
  assert sorted(p.name for p in tmp_path.iterdir()) == ['7', '8']


def test_a_loss_that_is_not_a_number_never_becomes_the_best(tmp_path):
  with open_all(tmp_path, keep_last=1, keep_best=1) as saved:
    save_steps(saved, [float('nan'), float('-inf'), 7.0, float('nan'), 8.0])
    assert saved.steps() == [3, 5] and saved.best_step() == 3
    assert saved.read_metrics(5) == {'loss': 8.0}


def test_without_any_measured_loss_there_is_no_best_step(tmp_path):
  with open_all(tmp_path, keep_best=1) as saved:
    save_steps(saved, [None, float('inf')])
    assert saved.best_step() is None


def test_a_misspelt_best_metric_is_refused_with_the_nearest_name(tmp_path):
  with open_all(tmp_path, keep_best=1, best_metric='validation/los') as saved:
    with pytest.raises(ConfigError, match="did you mean 'validation/loss'"):
      saved.save(1, a_state(), {}, {'validation/loss': 1.0})


def test_a_step_that_is_still_being_written_is_not_reported(tmp_path):
  with open_all(tmp_path, asynchronous=True) as saved:
    save_steps(saved, [None])
    saved.wait()
    saved.save(2, a_state(), {})
    assert saved.latest_step() == 1
    saved.wait()
    assert saved.latest_step() == 2


def test_the_step_before_stays_until_the_next_one_is_committed(tmp_path):
  with open_all(tmp_path, keep_last=1, asynchronous=True) as saved:
    save_steps(saved, [None, None])
    assert saved.steps() == [1]
    saved.wait()
    assert saved.steps() == [2]


def test_what_a_killed_save_left_is_removed_by_the_next_writer(tmp_path):
  with open_all(tmp_path) as saved:
    save_steps(saved, [None])
  left = tmp_path / '2.orbax-checkpoint-tmp'
  shutil.copytree(tmp_path / '1', left)
  with CheckpointReader(tmp_path) as found:
    assert found.steps() == [1]
  assert left.exists()  # a reader leaves it to the writer, who may be at work on it
  with open_all(tmp_path) as resumed:
    assert resumed.latest_step() == 1
    save_steps(resumed, [None], first=2)
    assert resumed.steps() == [1, 2]
  assert not left.exists()


def test_an_interrupted_prune_leaves_no_half_step(tmp_path):
  with open_all(tmp_path) as saved:
    save_steps(saved, [None, None])
  (tmp_path / manager.PRUNED).mkdir()
  (tmp_path / '1').rename(tmp_path / manager.PRUNED / '1')
  with open_all(tmp_path) as resumed:
    assert resumed.steps() == [2]
  assert [p.name for p in tmp_path.iterdir()] == ['2']


def test_saving_a_step_twice_or_backwards_is_refused(tmp_path):
  with open_all(tmp_path) as saved:
    save_steps(saved, [None], first=5)
    with pytest.raises(CheckpointError, match='step 5 is already saved'):
      saved.save(5, a_state(), {})
    with pytest.raises(CheckpointError, match=r'step 4 is older .* step 5'):
      saved.save(4, a_state(), {})
    saved.save(4, a_state(), {}, force=True)
    assert saved.steps() == [4, 5]


def test_a_numpy_leaf_is_refused_when_it_is_saved(tmp_path):
  with open_all(tmp_path) as saved:
    with pytest.raises(TypeError, match='params/w'):
      saved.save(1, {'params': {'w': np.ones(3)}}, {})
    assert saved.steps() == []


def test_a_record_that_is_not_json_is_refused_when_it_is_saved(tmp_path):
  with open_all(tmp_path) as saved:
    for record in ({'loss': float('nan')}, {'config': object()}):
      with pytest.raises((ValueError, TypeError)):
        saved.save(1, a_state(), record)
    assert saved.steps() == []


# Faults


def test_an_unwritable_folder_is_named_before_anything_is_saved(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  with pytest.raises(StorageError, match='file/checkpoints') as error:
    open_all(tmp_path / 'file' / 'checkpoints')
  assert error.value.exit_code == 5


@pytest.mark.parametrize('name', ['x[1]', 'x[!a]*?', '{a,b} #%41:é\n'])
def test_a_folder_may_have_any_name(tmp_path, name):
  folder, items = tmp_path / name / 'checkpoints', a_state()
  with open_all(folder) as saved:
    saved.save(1, items, {})
  with open_all(folder) as fresh:
    assert_bit_equal(fresh.restore(1, abstract(items)), items)


def test_a_name_that_the_storage_takes_for_a_glob_finds_no_other(tmp_path):
  (tmp_path / 'ab').mkdir()
  (tmp_path / 'ab' / 'd.txt').touch()
  (tmp_path / 'a*').mkdir()
  assert list(handler.Literal(tmp_path / 'a*').glob('*.txt')) == []


def drop_databases(item):
  (item / ocdbt.MANIFEST).unlink()


def drop_data(item):
  for file in item.glob('ocdbt.process_0/d/*'):
    file.unlink()


def cut_data(item):
  for file in item.glob('d/*'):  # the database over those of the processes
    os.truncate(file, file.stat().st_size // 2)


def drop_parts_of_arrays(item):
  base = {'driver': 'file', 'path': f'{item}/'}
  store = ts.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
  store.delete_range(ts.KvStore.KeyRange('w/3', 'w/6')).result()


DAMAGES = [drop_databases, drop_data, cut_data, drop_parts_of_arrays]


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_save_that_cannot_be_read_back_is_no_step(tmp_path, monkeypatch, damage):
  finalize = handler.DigestingHandler.finalize

  def finalize_and_damage(self, directory):
    finalize(self, directory)
    damage(pathlib.Path(directory))

  with open_all(tmp_path) as saved:
    save_steps(saved, [None])
    monkeypatch.setattr(handler.DigestingHandler, 'finalize', finalize_and_damage)
    with pytest.raises(StorageError, match='step 2 could not be saved .* params'):
      save_steps(saved, [None], first=2)
    assert saved.steps() == [1]
  assert [path.name for path in tmp_path.iterdir()] == ['1']


@pytest.fixture
def full_disk():
  """Returns a switch: once called, no file can grow past 100 kB."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('asynchronous', [False, True])
@pytest.mark.parametrize('noticed_by', ['wait', 'check', 'save'])
def test_a_failed_save_is_reported_under_its_own_step(
  tmp_path, full_disk, asynchronous, noticed_by, capfd
):
  big = jax.random.normal(jax.random.key(0), (1 << 18,))
  with open_all(tmp_path, keep_last=1, asynchronous=asynchronous) as saved:
    save_steps(saved, [None])
    full_disk()
    with pytest.raises(StorageError, match=r'step 2 could not be saved') as error:
      saved.save(2, {'params': {'w': jax.device_put(big, spread(8))}}, {})
      if noticed_by == 'check':
        while True:  # as a train loop does after each step
          saved.check()
          time.sleep(0.01)
      getattr(saved, noticed_by)(*([3, a_state(), {}] if noticed_by == 'save' else []))
    assert 'steps [1]' in str(error.value) and 'MB' in str(error.value)
    assert saved.steps() == [1]  # it was to be replaced, and is still there
    saved.check()
    save_steps(saved, [None], first=3)  # works again once there is space
    saved.wait()
    assert saved.steps() == [3]
  assert sorted(p.name for p in tmp_path.iterdir()) == ['3']
  assert capfd.readouterr().err == ''


def test_a_save_prints_nothing(tmp_path, capfd):
  with open_all(tmp_path, asynchronous=True) as saved:
    save_steps(saved, [None, None])
  with CheckpointReader(tmp_path) as found:
    found.restore(2, {'params': found.abstract(2, 'params', spread(1, ()))})
  assert capfd.readouterr() == ('', '')


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_no_committed_step():
  """Three kills here; the fault lane has hundreds."""
  row = kills.run_kills(3, seed=0)
  assert row['nothing_lost'] and row['tries'] == 3, row
