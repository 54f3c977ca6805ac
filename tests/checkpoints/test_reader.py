"""What a saved step holds is read as it was saved, or refused by name."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError
from tests.checkpoints.states import (
  a_state,
  abstract,
  assert_bit_equal,
  open_all,
  save_steps,
  spread,
)


def test_parameters_are_restored_without_knowing_their_shapes(tmp_path):
  items = a_state()
  with open_all(tmp_path) as saved:
    saved.save(1, items, {})
  with CheckpointReader(tmp_path) as found:
    assert found.items(1) == ['params', 'train']
    target = found.abstract(1, 'params', sharding=spread(1, ()))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), target) == jax.tree.map(
      lambda x: (x.shape, x.dtype), items['params']
    )
    assert_bit_equal(found.restore(1, {'params': target})['params'], items['params'])


def test_an_empty_or_missing_folder_has_no_steps(tmp_path):
  with CheckpointReader(tmp_path / 'nowhere') as found:
    assert found.steps() == [] and found.latest_step() is None
  assert not (tmp_path / 'nowhere').exists()


def test_a_reader_sees_the_steps_that_a_writer_adds(tmp_path):
  with open_all(tmp_path, keep_best=1) as saved:
    with CheckpointReader(tmp_path, 'loss') as found:
      save_steps(saved, [4.0])
      assert found.steps() == [1]
      save_steps(saved, [3.0], first=2)
      assert found.latest_step() == 2 and found.best_step() == 2


def test_a_step_that_is_pruned_meanwhile_is_skipped(tmp_path, monkeypatch):
  with open_all(tmp_path) as saved:
    save_steps(saved, [None, None])
  reports = []
  with CheckpointReader(tmp_path) as found:
    find_damage = found.integrity.find_damage

    def prune_and_find(step):
      shutil.rmtree(tmp_path / '2', ignore_errors=True)
      return find_damage(step)

    monkeypatch.setattr(found.integrity, 'find_damage', prune_and_find)
    assert found.latest_valid_step(reports.append) == 1
  assert reports == []


def refuse(saved, items, match):
  with pytest.raises(CheckpointError, match=match) as error:
    saved.restore(1, items)
  assert error.value.exit_code == 4
  return str(error.value)


def test_a_mismatch_names_every_array_as_saved_and_as_wanted(tmp_path):
  items = a_state()
  wanted = abstract(items)
  replicated = spread(8, ())
  wanted['params']['embed'] = jax.ShapeDtypeStruct((32, 4), 'f4', sharding=replicated)
  wanted['params']['block'] = {
    'kernels': jax.ShapeDtypeStruct((8, 8), 'bfloat16', sharding=replicated)
  }
  wanted['train']['step'] = jax.ShapeDtypeStruct((), 'f4', sharding=replicated)
  with open_all(tmp_path) as saved:
    saved.save(1, items, {})
    message = refuse(saved, wanted, '4 differ')
  assert 'params/embed: saved float32[16, 4], wanted float32[32, 4]' in message
  assert 'params/block/kernels: not saved' in message
  assert 'saved as params/block/kernel?' in message
  assert 'params/block/kernel: saved bfloat16[8, 8], not wanted' in message
  assert 'train/step: saved int32[], wanted float32[]' in message


def test_another_optimizer_is_refused(tmp_path):
  items = a_state()
  with open_all(tmp_path) as saved:
    saved.save(1, items, {})
    other = jax.eval_shape(optax.sgd(0.1, momentum=0.9).init, items['params'])
    wanted = abstract(items['train'] | {'opt': other}, spread(8, ()))
    refuse(saved, {'train': wanted}, 'train/opt/1/0/count: saved int32')


def test_a_mesh_that_does_not_divide_an_array_is_refused_by_name(tmp_path):
  items = {'params': {'w': jax.device_put(jnp.ones(6), spread(1))}}
  with open_all(tmp_path) as saved:
    saved.save(1, items, {})
    refuse(saved, abstract(items, spread(4)), r'params/w: .*4')


def test_missing_steps_and_items_are_named_with_those_there_are(tmp_path):
  with open_all(tmp_path) as saved:
    save_steps(saved, [None, None])
    with pytest.raises(CheckpointError, match=r'no checkpoint of step 7.*\[1, 2\]'):
      saved.read_meta(7)
    refuse(saved, {'train': {}}, r"no item 'train'; it has \['params'\]")


@pytest.mark.parametrize('damaged', ['params/_METADATA', 'meta/metadata', 'params/d'])
def test_a_damaged_step_is_named_and_the_others_stay_open(tmp_path, damaged):
  with open_all(tmp_path, keep_best=1) as saved:
    save_steps(saved, [1.0, 2.0])
    target = saved.abstract(1, 'params', sharding=spread(1, ()))
  path = tmp_path / '2' / damaged
  for file in [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  with open_all(tmp_path, keep_best=1) as resumed:
    with pytest.raises(CheckpointError, match=r'/2( is damaged:|/meta cannot be read)'):
      resumed.read_meta(2)
      resumed.restore(2, {'params': target})
    assert resumed.best_step() == 1
    assert np.asarray(resumed.restore(1, {'params': target})['params']['w']).sum() == 8
