"""Checkpoints: trees of arrays plus a JSON record, whole or absent, one folder a step.

A step is one Orbax Composite, committed by a rename: `params`, `train`, ... hold
arrays, `meta` holds the record (data position, config, fingerprints) and the metrics.
Readers never see a half-written or half-deleted step. Each step carries the digests of
its files (see `checkpoint_digests`), and nothing is restored before they were compared.
Of all modules only this one and the `checkpoint_*` below it know Orbax; none of them
knows training.
"""

import contextlib
import json
import pathlib
import shutil
import sys

import jax
import orbax.checkpoint as ocp

from gpt_jax.checkpoints import (
  barrier,
  digests,
  handler,
  manifest,
  memory,
  orbax_logging,
  reading,
  tree_diff,
)
from gpt_jax.checkpoints.integrity import META, Integrity, committed
from gpt_jax.checkpoints.orbax_logging import first_line
from gpt_jax.checkpoints.retention import BestSteps
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.parallel import sync
from gpt_jax.workdir import files

PRUNED = 'pruned'  # steps on their way out: renamed first, so that none is half there
SCRATCH = '*.orbax-checkpoint-tmp*'  # steps on their way in: renamed last


class Checkpoints:
  """The checkpoints of one run. Every process of the run makes the same calls.

  Keeps the newest `keep_last` steps and the `keep_best` ones with the lowest
  `best_metric`; a step leaves only after a newer one is committed. With `asynchronous`
  a save returns once the arrays are copied (they may be donated at once) and writes in
  the background. `read_only` never touches the folder: use it to look at a run that
  another process is writing.
  """

  def __init__(
    self, directory, *, keep_last, keep_best, best_metric, asynchronous, read_only=False
  ):
    orbax_logging.silence()
    self._asynchronous = asynchronous
    self._read_only = read_only
    self._best = BestSteps(best_metric, keep_best)
    self._saving = None  # the step that is being written
    self._items, self._bytes, self._checks = (), 0, 0  # of that step
    self._meeting = barrier.Meeting()
    self.directory = pathlib.Path(directory).expanduser().absolute()
    self.integrity = Integrity(self.directory)
    if not read_only:
      sync.raise_on_all(lambda: files.check_writable(self.directory))
      self._sweep()
    policies = ocp.checkpoint_managers
    self._manager = handler.open_manager(
      self.directory,
      keep=[policies.LatestN(keep_last), self._best],
      pruned=PRUNED,
      write_manifest=self._seal,
      meet=self._meeting,
      read_only=read_only,
    )
    self._steps = sorted(self._manager.all_steps())
    self._read_scores()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  # Writing

  def save(self, step, items, meta, metrics=None, force=False):
    """Saves trees of jax.Arrays `items` and the JSON record `meta` as one step.

    First settles the save before (`wait`), so a StorageError raised here may name that
    earlier step; calling again then saves this one. It is raised in all processes when
    one of them failed. `metrics` are floats by name, equal on all processes; those that
    are not finite are left out and never count as best.
    `force` allows a step older than the newest. Raises CheckpointError when the step
    exists or is too old, StorageError when it cannot be written.
    """
    assert not self._read_only, 'opened read-only'
    handler.require_arrays(items)
    assert META not in items, f'{META!r} is the name of the JSON record'
    record = dict(
      meta=meta,
      metrics=self._best.finite(metrics or {}),
      digests=manifest.ALGORITHM,
    )
    json.dumps(record, allow_nan=False)  # fails here, not in the middle of a save
    self.wait()
    if step in self._steps:
      raise CheckpointError(f'step {step} is already saved in {self.directory}.')
    if self._steps and step < self._steps[-1] and not force:
      raise CheckpointError(
        f'step {step} is older than the newest one in {self.directory}, step'
        f' {self._steps[-1]}; move the newer ones away, or use a new workdir.'
      )
    self._best.record(step, record['metrics'])
    self.integrity.invalidate(step)
    self._saving, self._items, self._checks = step, tuple(items), 0
    self._bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
    self._meeting.begin()
    trees = {
      name: handler.Save(tree, on_thread=self._meeting.watch)
      for name, tree in items.items()
    }
    with self._surfaced():
      sync.raise_on_all(lambda: files.check_writable(self.directory))
      composite = ocp.args.Composite(**trees, **{META: ocp.args.JsonSave(record)})
      if not self._manager.save(step, args=composite, force=force):
        raise RuntimeError('Orbax declined to save')
    if not self._asynchronous:
      self.wait()

  def wait(self):
    """Returns once the last save is committed; raises StorageError if it failed."""
    if self._saving is None:
      return
    with self._surfaced():
      sync.raise_on_all(self._finish)
    self._saving = None
    self._steps = sorted(self._manager.all_steps())
    self._sweep()

  def check(self):
    """Raises StorageError if the save in the background has failed; waits for none.

    Cheap enough for every step, so that a failure shows soon and not at the next save.
    Several processes have to ask each other: they do so at the first, second, fourth,
    eighth, ... call after a save began, and all of them must make these calls.
    """
    if self._saving is None:
      return
    self._checks += 1
    if jax.process_count() > 1 and self._checks & (self._checks - 1):
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
    """Waits for the last save and lets go of the folder. Call it on every way out."""
    try:
      self.wait()
    finally:
      self._manager.close()

  # Reading

  def steps(self):
    """Returns the committed steps, ascending.

    One that is still being written counts once `wait`, `check` or the next `save` has
    seen it done, at the same call on every process.
    """
    if self._read_only:
      self._steps = committed(self.directory)
    return list(self._steps)

  def latest_step(self):
    """Returns the newest committed step, or None."""
    return max(self.steps(), default=None)

  def best_step(self):
    """Returns the committed step with the lowest best metric, or None."""
    if self._read_only:
      self._read_scores()
    return next(iter(self._best.ranked(self.steps())), None)

  def items(self, step):
    """Returns the names of the array items that `step` holds, sorted."""
    folders = (path for path in self._folder(step).iterdir() if path.is_dir())
    return sorted(path.name for path in folders if path.name != META)

  def read_meta(self, step):
    """Returns the JSON record that was saved with `step`."""
    return self._read_record(step)['meta']

  def read_metrics(self, step):
    """Returns the finite metrics that were saved with `step`, by name."""
    return self._read_record(step)['metrics']

  def abstract(self, step, item, sharding=None):
    """Returns an item's tree of ShapeDtypeStructs, read without loading any array.

    Containers come back as dicts and lists. Give a `sharding` to get a target that
    `restore` takes, for example to read somebody's parameters as they are.
    """
    return jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
      self._saved_tree(step, item),
    )

  def restore(self, step, abstract_items):
    """Returns the items named in `abstract_items`, placed as their leaves say.

    Each leaf is a ShapeDtypeStruct with its sharding; other items of the step are not
    read. Names, shapes and dtypes are compared with the saved ones before anything is
    loaded: nothing is cast, cut or left out. Raises CheckpointError listing every array
    that differs, as saved and as wanted, and when the step is damaged or is not of the
    size of this machine.
    """
    self.require_valid(step)
    found = []
    for item, tree in abstract_items.items():
      found += tree_diff.differences(self._saved_tree(step, item), tree, item)
    if found:
      raise CheckpointError(tree_diff.report(self._folder(step), found))
    memory.require(abstract_items, self._folder(step))
    arguments = {n: handler.Restore(t) for n, t in abstract_items.items()}
    with self._readable(step, '+'.join(abstract_items)):
      restored = self._manager.restore(step, args=ocp.args.Composite(**arguments))
    return {item: restored[item] for item in abstract_items}

  # Damage

  def require_valid(self, step):
    """Raises CheckpointError, on all processes, when a file of `step` is damaged."""
    self._folder(step)
    if problem := self.integrity.find_damage(step):
      raise CheckpointError(
        f'{problem}\nUse another step; in the folder: {_listed(self._others(step))}.'
      )

  def has_valid_record(self, step, say=None):
    """Returns whether the record of `step` is as it was saved; else sets it aside."""
    problem = self.integrity.find_damage(step, item=META)
    if problem:
      (say or _say)(f'{problem}\nThat step is now {self._set_aside(step)}.')
    return not problem

  def latest_valid_step(self, say=None):
    """Returns the newest step whose files are as they were saved, None without steps.

    Damaged ones above it are set aside: renamed, never deleted (a reader only passes
    over them). `say(text)` hears what was found; default: standard error. Raises
    CheckpointError when there are steps and none of them is sound.
    """
    say, damaged = say or _say, []
    while (step := max(set(self.steps()) - set(damaged), default=None)) is not None:
      problem = self.integrity.find_damage(step)
      if problem is None:
        if self.integrity.predates_digests(step):
          say(f'{self.directory / str(step)}: saved without digests, so not checked.')
        return step
      if self._read_only and step not in committed(self.directory):
        continue  # the run that writes here has pruned it meanwhile
      damaged.append(step)
      place = None if self._read_only else self._set_aside(step)
      say(
        f'{problem}\nThat step is {f"now {place}" if place else "passed over"}, nothing'
        ' was deleted; the newest sound step before it is used. Check the disk.'
      )
    if damaged:
      raise CheckpointError(
        f'{self.directory}: every step is damaged, {damaged}. Bring a copy back, or'
        ' use a new workdir to start from the beginning.'
      )
    return None

  def _set_aside(self, step):
    place = self.integrity.quarantine(step)
    self._best.discard(step)
    self._manager.reload()
    self._steps = committed(self.directory)
    return place

  def _finish(self):
    self._manager.wait_until_finished()
    self._manager.check_for_errors()
    files.sync_folder(self.directory)

  def _seal(self):
    """Writes the digests of the step under way, just before it is committed."""
    (folder,) = self.directory.glob(f'{self._saving}.orbax-checkpoint-tmp*')
    for item in self._items:
      digests.require_parts(folder / item, jax.process_count())
    digests.write_manifest(folder)

  # Parts

  def _others(self, step):
    return [other for other in self._steps if other != step]

  def _folder(self, step):
    if step not in self.steps():
      raise CheckpointError(
        f'no checkpoint of step {step} in {self.directory}; it holds'
        f' {_listed(self._steps)}.'
      )
    return self.directory / str(step)

  def _saved_tree(self, step, item):
    """Returns Orbax's metadata of `item`: leaves with shape and dtype."""
    if item not in self.items(step):
      raise CheckpointError(
        f'{self._folder(step)} has no item {item!r}; it has {self.items(step)}.'
      )
    with self._readable(step, item):
      return reading.tree(self._folder(step) / item)

  def _read_record(self, step):
    folder = self._folder(step) / META
    with self._readable(step, META):
      return reading.record(folder)

  @contextlib.contextmanager
  def _readable(self, step, item):
    """Turns what damaged files raise into a CheckpointError that names other steps."""
    try:
      yield
    except CheckpointError:
      raise
    except Exception as error:  # by what is damaged: KeyError, JSONDecodeError, ...
      raise CheckpointError(
        f'{self.directory / str(step) / item} cannot be read: {first_line(error)}\n'
        'That step is damaged or incomplete; also in the folder:'
        f' {_listed(self._others(step))}.'
      ) from error

  def _read_scores(self):
    for step in self.steps():
      with contextlib.suppress(CheckpointError):  # damaged: it cannot be the best
        self._best.record(step, self.read_metrics(step))

  @contextlib.contextmanager
  def _surfaced(self):
    """Turns whatever stops the save under way into a StorageError naming its step."""
    try:
      yield
    except Exception as error:  # full disks, lost mounts, failing threads: all kinds
      step, self._saving = self._saving, None
      self._best.discard(step)
      # Orbax has already forgotten the steps that this save was to replace. Reading
      # them again fails where one of them is damaged; then the next start prunes them.
      with contextlib.suppress(Exception):
        self._manager.reload()
      self._steps = committed(self.directory)
      self._sweep()
      raise StorageError(
        f'step {step} could not be saved in {self.directory}: {first_line(error)}\n'
        f'It takes up to {self._bytes / 1e6:.1f} MB; free on that disk:'
        f' {files.free_megabytes(self.directory)}. What was written of it is removed.'
        f' Still there: {_listed(self._steps)}. Free some space or make the folder'
        ' writable.'
      ) from error

  def _sweep(self):
    """Removes pruned steps and what failed saves left. No save may be under way."""
    if jax.process_index() == 0:
      for scratch in (self.directory / PRUNED, *self.directory.glob(SCRATCH)):
        shutil.rmtree(scratch, ignore_errors=True)


def reader(directory, best_metric=''):
  """Returns the Checkpoints of `directory` to read only, beside a run or after it."""
  return Checkpoints(
    directory,
    keep_last=1,
    keep_best=0,
    best_metric=best_metric,
    asynchronous=False,
    read_only=True,
  )


def _say(text):
  print(text, file=sys.stderr)


def _listed(steps):
  return f'steps {steps}' if steps else 'no steps'
