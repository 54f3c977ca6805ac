"""Checkpoints: trees of arrays plus a JSON record, whole or absent, one folder a step.

A step is one Orbax Composite, committed by a rename: `params`, `train`, ... hold
arrays, `meta` the record (data position, config, fingerprints) and the metrics.
"""

import contextlib
import dataclasses
import json
import shutil

import jax
import orbax.checkpoint as ocp

from gpt_jax.checkpoints import barrier, digests, handler, manifest, ocdbt, unsigned
from gpt_jax.checkpoints.integrity import META, committed
from gpt_jax.checkpoints.orbax_logging import first_line
from gpt_jax.checkpoints.reader import CheckpointReader, listed, print_warning
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.parallel import sync
from gpt_jax.storage import failures, objects
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files
from gpt_jax.workdir.lease import LostLease, UnsureLease

PRUNED = 'pruned'  # steps that are deleted are moved here first: none is half there
SCRATCH = '*.orbax-checkpoint-tmp*'  # steps that are written get their name last


@dataclasses.dataclass
class _UnderWay:
  """The save that is being written."""

  step: int
  items: tuple[str, ...]
  nbytes: int
  checks: int = 0


class Checkpoints(CheckpointReader):
  """The checkpoints of one run, read and written.

  Keeps the newest `keep_last` steps and the `keep_best` ones with the best
  `best_metric` (lowest, or highest by `best_mode`); a step leaves only after a newer
  one is committed. With `asynchronous` a save returns once the arrays are copied (they
  may be donated at once) and writes in the background. Nothing is committed or removed
  once the `lock` of the first process is lost, since another one may write here then.
  """

  def __init__(
    self,
    directory,
    *,
    keep_last,
    keep_best,
    best_metric,
    asynchronous,
    best_mode='min',
    lock=None,
  ):
    self._asynchronous, self._keep_last = asynchronous, keep_last
    self._lock = lock
    self._barrier = barrier.SaveBarrier()
    self._save: _UnderWay | None = None
    super().__init__(directory, best_metric, keep_best, best_mode)
    self._steps = sorted(self._manager.all_steps())
    self._read_scores()

  def _open(self):
    sync.raise_on_all(lambda: files.check_writable(self.directory))
    self._sweep()
    return handler.open_writer(
      self.directory,
      keep=[ocp.checkpoint_managers.LatestN(self._keep_last), self._best],
      pruned=PRUNED,
      write_manifest=self._write_manifest,
      barrier=self._barrier,
    )

  def steps(self):
    """Returns the committed steps, ascending, the same on every process."""
    # One that is being written counts once `wait`, `check` or `save` has seen it done.
    return list(self._steps)

  def save(self, step, items, meta, metrics=None, force=False, file_bytes=None):
    """Saves trees of jax.Arrays `items` and the JSON record `meta` as one step.

    `metrics` are floats by name, equal on all processes; those that are not finite are
    left out. `force` allows a step older than the newest. `file_bytes`: of a data file
    on disks, which is in memory until it is full. Raises CheckpointError when
    the step exists or is too old; StorageError, on all processes, when it or the save
    before (whose step it names) could not be written.
    """
    handler.require_arrays(items)
    assert META not in items, f'{META!r} is the name of the JSON record'
    record = dict(
      meta=meta,
      metrics=self._best.finite(metrics or {}),
      digests=manifest.ALGORITHM,
      **unsigned.record(items),
    )
    json.dumps(record, allow_nan=False)  # fails here, not in the middle of a save
    self.wait()
    self._require_new(step, force)
    self._best.record(step, record['metrics'])
    self.integrity.invalidate(step)
    nbytes = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
    self._save = _UnderWay(step, tuple(items), nbytes)
    self._barrier.begin()
    trees = {
      name: handler.save_arguments(
        self.directory, unsigned.encoded(tree), self._barrier.watch, file_bytes
      )
      for name, tree in items.items()
    }
    with self._save_errors():
      sync.raise_on_all(self._require_writable)
      composite = ocp.args.Composite(**trees, **{META: ocp.args.JsonSave(record)})
      if not self._manager.save(step, args=composite, force=force):
        raise RuntimeError('Orbax declined to save')
    if not self._asynchronous:
      self.wait()

  def wait(self):
    """Returns once the last save is committed; raises StorageError if it failed."""
    if self._save is None:
      return
    with self._save_errors():
      sync.raise_on_all(self._finish)
    self._save = None
    self._steps = sorted(self._manager.all_steps())
    self._sweep()

  def check(self):
    """Raises StorageError if the save in the background has failed; waits for none.

    LostLease where another process writes here now.
    """
    if self._lock:
      with contextlib.suppress(UnsureLease):  # steps harm nobody; a save would fail
        self._lock.require()
    # Called after every step, so that a failure shows soon. Several processes ask each
    # other, at the first, second, fourth, eighth, ... call after a save began.
    if self._save is None:
      return
    self._save.checks += 1
    if jax.process_count() > 1 and self._save.checks & (self._save.checks - 1):
      return
    if not sync.any_process(self._manager.is_saving_in_progress()):
      self.wait()

  def delete(self, step):
    """Removes a committed step; every process calls it. No save may be under way."""
    self._folder(step)
    self._best.discard(step)
    self._manager.delete(step)
    self._steps = sorted(self._manager.all_steps())
    self._sweep()

  def close(self):
    """Waits for the last save and closes the folder. Call it in any case."""
    try:
      self.wait()
    finally:
      super().close()

  def has_valid_record(self, step, report=None):
    """Returns whether the record of `step` is as it was saved; else quarantines it."""
    problem = self.integrity.find_damage(step, item=META)
    if problem:
      (report or print_warning)(f'{problem}\nThat step is {self._pass_over(step)}.')
    return not problem

  def _pass_over(self, step):
    """Quarantines a damaged step: renames it, and deletes nothing."""
    place = self.integrity.quarantine(step)
    self._best.discard(step)
    self._manager.reload()
    self._steps = committed(self.directory)
    return f'now {place}'

  def _require_new(self, step, force):
    if step in self._steps:
      raise CheckpointError(f'step {step} is already saved in {self.directory}.')
    if self._steps and step < self._steps[-1] and not force:
      raise CheckpointError(
        f'step {step} is older than the newest one in {self.directory}, step'
        f' {self._steps[-1]}; move the newer ones away, or use a new workdir.'
      )

  def _require_writable(self):
    if self._lock:
      self._lock.confirm()  # another's save under way may have this step's name
    files.check_writable(self.directory)

  def _write_manifest(self):
    assert self._save
    if is_remote(self.directory):
      folder = self.directory / str(self._save.step)
    else:
      (folder,) = self.directory.glob(f'{self._save.step}.orbax-checkpoint-tmp*')
    for item in self._save.items:
      digests.require_parts(folder / item, jax.process_count())
      ocdbt.require_complete(folder / item)
    digests.write_manifest(folder)
    if self._lock:
      self._lock.confirm()

  def _finish(self):
    self._manager.wait_until_finished()
    self._manager.check_for_errors()
    files.sync_folder(self.directory)

  @contextlib.contextmanager
  def _save_errors(self):
    """Turns whatever stops the save under way into a StorageError naming its step."""
    try:
      yield
    except Exception as error:  # full disks, lost mounts, failing threads: all kinds
      failed, self._save = self._save, None
      assert failed
      self._best.discard(failed.step)
      self._is_mine()  # a loss is what is told, and no reason to try again
      # Orbax has already dropped the steps that this save was to replace. Reading
      # them again fails where one of them is damaged; then the next start prunes them.
      with contextlib.suppress(Exception):
        self._manager.reload()
      with contextlib.suppress(StorageError):  # a bucket out of reach: as far as known
        self._steps = committed(self.directory)
      self._sweep()
      reason = first_line(failures.of_store(error, self.directory))
      fix = '' if is_remote(self.directory) else ' Free some space or make it writable.'
      raise StorageError(
        f'step {failed.step} could not be saved in {self.directory}: {reason}\n'
        f'{self._describe_leftovers(failed)} Still there: {listed(self._steps)}.{fix}'
      ) from error

  def _describe_leftovers(self, failed):
    if is_remote(self.directory):  # out of reach, perhaps: then it goes later
      return 'What was written of it is no step.'
    return (
      f'It takes up to {failed.nbytes / 1e6:.1f} MB; free on that disk:'
      f' {files.free_megabytes(self.directory)}. What was written of it is removed.'
    )

  def _is_mine(self):
    """Returns whether the lock is held for sure; raises LostLease if another has it."""
    try:
      if self._lock:
        self._lock.confirm()
    except LostLease:
      raise
    except StorageError:  # the bucket is out of reach
      return False
    return True

  def _sweep(self):
    """Removes pruned steps and what failed saves left. No save may be under way."""
    if not self._is_mine():
      return  # it may be the save of another; the next sweep does it
    if jax.process_index() == 0 and is_remote(self.directory):
      with contextlib.suppress(StorageError):
        self._sweep_bucket()
    elif jax.process_index() == 0:
      for scratch in (self.directory / PRUNED, *self.directory.glob(SCRATCH)):
        shutil.rmtree(scratch, ignore_errors=True)

  def _sweep_bucket(self):
    whole = committed(self.directory)
    for name in objects.names_in(self.directory):
      is_probe = name.startswith('.') and name.endswith('.tmp')  # of a killed process
      if is_probe or (name.isdecimal() and int(name) not in whole):
        objects.remove_tree(self.directory / name)
