"""One process of a run of several; started by test_multihost.py.

multihost_worker.py train DIR     a psum, a global batch, a sharded checkpoint
multihost_worker.py restore DIR   that checkpoint, bit for bit, however many we are
multihost_worker.py fail DIR      one fails, in a save or at a lock: all do, none waits
multihost_worker.py die CODE      process 1 ends with CODE, the others wait for it
multihost_worker.py meet NOTHING  all wait for each other
"""

import errno
import os
import signal
import sys
import time

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.checkpoints import digests
from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.core import process_end
from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.parallel import multihost, sync
from gpt_jax.workdir.paths import Workdir

WEIGHTS_DM = np.arange(32, dtype=np.float32).reshape(8, 4) / 7


def train(directory):
  mesh = Mesh(np.asarray(jax.devices()), ('data',))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  mine = multihost.local_rows(rows, 8)
  tokens_BT = np.arange(24, dtype=np.int32).reshape(8, 3)
  batch = multihost.global_batch(
    {'tokens': tokens_BT[mine], 'weights': np.ones(8, np.float32)[mine]}, rows
  )
  assert batch['tokens'].shape == (8, 3) and batch['weights'].shape == (8,)
  for shard in batch['tokens'].addressable_shards:
    np.testing.assert_array_equal(shard.data, tokens_BT[shard.index])

  def total(tokens_BT):
    return jax.lax.psum(tokens_BT.sum(), 'data')

  summed = jax.jit(
    jax.shard_map(total, mesh=mesh, in_specs=rows.spec, out_specs=PartitionSpec())
  )(batch['tokens'])
  assert int(summed) == tokens_BT.sum()

  weights = jax.make_array_from_callback((8, 4), rows, lambda i: WEIGHTS_DM[i])
  step = jax.device_put(np.int32(1), NamedSharding(mesh, PartitionSpec()))
  with open_all(directory) as saved:
    saved.save(1, {'params': {'w': weights}}, {'next_sample': 8}, {'loss': 2.0})
    saved.save(2, {'params': {'w': weights + step}}, {'next_sample': 16}, {'loss': 3.0})
    saved.wait()
    assert saved.steps() == [1, 2] and saved.best_step() == 1


def restore(directory):
  mesh = Mesh(np.asarray(jax.devices()), ('data',))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  with open_all(directory) as saved:
    assert saved.latest_step() == 2 and saved.read_meta(2) == {'next_sample': 16}
    params = saved.restore(2, {'params': saved.abstract(2, 'params', rows)})['params']
  for shard in params['w'].addressable_shards:
    np.testing.assert_array_equal(shard.data, WEIGHTS_DM[shard.index] + 1)


def fail(directory):
  restore(directory)
  rows = NamedSharding(Mesh(np.asarray(jax.devices()), ('data',)), PartitionSpec())
  items = {'params': {'w': jax.device_put(WEIGHTS_DM, rows)}}
  with open_all(f'{directory}_fails') as saved:
    saved.save(1, items, {})
    saved.wait()
    for function, victim in (
      ('write_part', 1),
      ('write_part', 0),
      ('write_manifest', 0),
    ):
      usual = getattr(digests, function)

      def full_disk(*arguments, usual=usual, victim=victim):
        if multihost.process_index() == victim:
          raise OSError(errno.ENOSPC, 'No space left on device')
        return usual(*arguments)

      setattr(digests, function, full_disk)
      saved.save(2, items, {})
      message = refused(saved.wait, StorageError)
      setattr(digests, function, usual)
      assert 'step 2 could not be saved' in message, message
      assert 'No space left' in message, message
      who = '' if multihost.process_index() == victim else f'process {victim}: OSError'
      assert who in message and saved.steps() == [1], message
    saved.save(2, items, {})
    for _ in range(10_000):  # all see it at the same call
      saved.check()
      if saved.steps() == [2]:
        break
      time.sleep(0.001)
    assert saved.steps() == [2] and saved.integrity.find_damage(2) is None
  message = refused(lambda: Workdir(directory).lock().__enter__(), StorageError)
  assert 'is at work there' in message
  message = refused(lambda: sync.raise_on_all(broken), DataError)
  assert message.endswith('token 7 is bad')


def broken():
  if multihost.process_index() == 1:
    raise DataError('token 7 is bad')


def refused(action, kind):
  """Returns the text of the error of class `kind` that `action` ends with."""
  try:
    action()
  except kind as error:
    return str(error)
  raise AssertionError('was not refused')


def die(code):
  if multihost.process_index() == 1:
    os.kill(os.getpid(), signal.SIGKILL) if code == 'kill' else os._exit(int(code))
  time.sleep(60)


def open_all(directory):
  return Checkpoints(
    directory, keep_last=1, keep_best=1, best_metric='loss', asynchronous=True
  )


if __name__ == '__main__':
  evidence = multihost.initialize(timeout_seconds=60)
  modes = {'train': train, 'restore': restore, 'fail': fail, 'die': die, 'meet': id}
  modes[sys.argv[1]](sys.argv[2])
  multihost.barrier('end')
  print(
    f'done: process {multihost.process_index()} of {multihost.process_count()},'
    f' {jax.device_count()} devices, joined by {evidence}'
  )
  process_end.end_at_once(0)
