"""Checkpoints: trees of arrays plus a JSON record, whole or absent, one folder a step.

A step is one Orbax Composite, committed by a rename: `params`, `train`, ... hold
arrays, `meta` holds the record (data position, config, fingerprints) and the metrics.
Readers never see a half-written or half-deleted step. This is the only module that
calls Orbax, and it knows nothing of training.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import shutil

import jax
import orbax.checkpoint as ocp
from etils import epath

from gpt_jax import checkpoint_noise, pytree, storage, tree_diff
from gpt_jax.errors import CheckpointError, ConfigError, StorageError
from gpt_jax.registry import nearest

META = 'meta'
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
    checkpoint_noise.silence()
    self._asynchronous = asynchronous
    self._read_only = read_only
    self._best = _BestSteps(best_metric, keep_best)
    self._saving = None  # the step that is being written
    self._directory = pathlib.Path(directory).expanduser().absolute()
    if not read_only:
      storage.probe(self._directory)
      self._sweep()
    policies = ocp.checkpoint_managers
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
          [policies.LatestN(keep_last), self._best]
        ),
        enable_async_checkpointing=asynchronous,
        read_only=read_only,
        create=not read_only,
        save_interval_steps=0 if read_only else 1,
        todelete_subdir=None if read_only else PRUNED,
        # Opening reads no step: a damaged old one must not keep a run from resuming.
        lightweight_initialize=True,
      ),
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
    earlier step; calling again then saves this one. `metrics` are floats by name, equal
    on all processes; those that are not finite are left out and never count as best.
    `force` allows a step older than the newest. Raises CheckpointError when the step
    exists or is too old, StorageError when it cannot be written.
    """
    assert not self._read_only, 'opened read-only'
    _require_arrays(items)
    record = dict(meta=meta, metrics=self._best.finite(metrics or {}))
    json.dumps(record, allow_nan=False)  # fails here, not in the middle of a save
    self.wait()
    if step in self._steps:
      raise CheckpointError(f'step {step} is already saved in {self._directory}.')
    if self._steps and step < self._steps[-1] and not force:
      raise CheckpointError(
        f'step {step} is older than the newest one in {self._directory}, step'
        f' {self._steps[-1]}; move the newer ones away, or use a new workdir.'
      )
    self._best.note(step, record['metrics'])
    self._saving = step
    trees = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    with self._surfaced():
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
      self._manager.wait_until_finished()
      self._manager.check_for_errors()
    self._saving = None
    self._steps = sorted(self._manager.all_steps())
    self._sweep()

  def check(self):
    """Raises StorageError if the save in the background has failed; never waits.

    Cheap enough for every step, so that a failure shows soon and not at the next save.
    """
    if self._saving is not None and not self._manager.is_saving_in_progress():
      self.wait()

  def close(self):
    """Waits for the last save and lets go of the folder. Call it on every way out."""
    try:
      self.wait()
    finally:
      self._manager.close()

  # Reading

  def steps(self):
    """Returns the committed steps, ascending.

    One that is still being written counts once `wait` or the next `save` has seen it
    done, at the same call on every process; `check` may see it earlier on some.
    """
    if self._read_only:
      self._steps = _committed(self._directory)
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
    that differs, as saved and as wanted.
    """
    found = []
    for item, tree in abstract_items.items():
      found += tree_diff.differences(self._saved_tree(step, item), tree, item)
    if found:
      raise CheckpointError(tree_diff.report(self._folder(step), found))
    arguments = {n: ocp.args.StandardRestore(t) for n, t in abstract_items.items()}
    try:
      restored = self._manager.restore(step, args=ocp.args.Composite(**arguments))
    except Exception as error:  # damaged files raise bare Exception
      raise self._unreadable(step, '+'.join(abstract_items), error) from error
    return {item: restored[item] for item in abstract_items}

  # Parts

  def _folder(self, step):
    if step not in self.steps():
      raise CheckpointError(
        f'no checkpoint of step {step} in {self._directory}; it holds'
        f' {_listed(self._steps)}.'
      )
    return self._directory / str(step)

  def _saved_tree(self, step, item):
    """Returns Orbax's metadata of `item`: leaves with shape and dtype."""
    if item not in self.items(step):
      raise CheckpointError(
        f'{self._folder(step)} has no item {item!r}; it has {self.items(step)}.'
      )
    try:
      path = epath.Path(self._folder(step) / item)
      return ocp.StandardCheckpointHandler().metadata(path).tree
    except Exception as error:  # by what is damaged: KeyError, JSONDecodeError, ...
      raise self._unreadable(step, item, error) from error

  def _read_record(self, step):
    path = epath.Path(self._folder(step) / META)
    try:
      record = ocp.JsonCheckpointHandler().restore(path)
      return dict(meta=record['meta'], metrics=record['metrics'])
    except Exception as error:  # as above
      raise self._unreadable(step, META, error) from error

  def _unreadable(self, step, item, error):
    others = [other for other in self._steps if other != step]
    return CheckpointError(
      f'{self._directory / str(step) / item} cannot be read: {_first_line(error)}\n'
      f'That step is damaged or incomplete; also in the folder: {_listed(others)}.'
    )

  def _read_scores(self):
    for step in self.steps():
      with contextlib.suppress(CheckpointError):  # damaged: it cannot be the best
        self._best.note(step, self.read_metrics(step))

  @contextlib.contextmanager
  def _surfaced(self):
    """Turns whatever stops the save under way into a StorageError naming its step."""
    try:
      yield
    except Exception as error:  # full disks, lost mounts, failing threads: all kinds
      step, self._saving = self._saving, None
      self._best.forget(step)
      # Orbax has already forgotten the steps that this save was to replace. Reading
      # them again fails where one of them is damaged; then the next start prunes them.
      with contextlib.suppress(Exception):
        self._manager.reload()
      self._steps = _committed(self._directory)
      self._sweep()
      raise StorageError(
        f'step {step} could not be saved in {self._directory}: {_first_line(error)}\n'
        f'Free on that disk: {_free_megabytes(self._directory)}. Still there:'
        f' {_listed(self._steps)}. Free some space or make the folder writable.'
      ) from error

  def _sweep(self):
    """Removes pruned steps and what failed saves left. No save may be under way."""
    if jax.process_index() == 0:
      for scratch in (self._directory / PRUNED, *self._directory.glob(SCRATCH)):
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


@dataclasses.dataclass
class _BestSteps(ocp.checkpoint_managers.PreservationPolicy):
  """Keeps the `count` steps with the lowest `metric`; of equals the later one.

  Orbax has BestN, but it reads each step's metrics at start, where one damaged file
  would close the whole folder, and it ranks NaN.
  """

  metric: str
  count: int
  scores: dict[int, float] = dataclasses.field(default_factory=dict)

  def should_preserve(self, checkpoints, *, context):
    best = self.ranked([c.step for c in checkpoints])[: self.count]
    return [c.step in best for c in checkpoints]

  def ranked(self, steps):
    """Returns those of `steps` that have the metric, the best first."""
    scored = [step for step in steps if step in self.scores]
    return sorted(scored, key=lambda step: (self.scores[step], -step))

  def note(self, step, metrics):
    if self.metric in metrics:
      self.scores[step] = metrics[self.metric]

  def forget(self, step):
    self.scores.pop(step, None)

  def finite(self, metrics):
    """Returns the finite ones of `metrics` as floats; ConfigError if `metric` lacks."""
    if metrics and self.count and self.metric not in metrics:
      hint = nearest(self.metric, metrics)
      raise ConfigError(
        f'checkpoint.best_metric={self.metric!r}: expected one of {sorted(metrics)}'
        + (f'; did you mean {hint!r}?' if hint else '.')
      )
    return {k: float(v) for k, v in metrics.items() if math.isfinite(v)}


def _require_arrays(items):
  """Raises TypeError naming the first leaf of `items` that is not a jax.Array."""
  assert META not in items, f'{META!r} is the name of the JSON record'
  for item, tree in items.items():
    for name, leaf in pytree.named_leaves(tree):
      # Orbax would restore a numpy leaf without looking at its shape.
      if not isinstance(leaf, jax.Array):
        raise TypeError(f'{item}/{name}: expected a jax.Array, got {type(leaf)}')


def _committed(directory):
  """Returns the steps on the disk: a step's folder gets its plain name last."""
  if not directory.is_dir():
    return []
  return sorted(int(p.name) for p in directory.iterdir() if p.name.isdecimal())


def _first_line(error):
  """Returns kind and first line of an error and its cause, which names the array."""
  first, *_ = str(error).strip().splitlines() or ['']
  line = f'{type(error).__name__}: {first[:300]}'
  return f'{line} ({_first_line(error.__cause__)})' if error.__cause__ else line


def _listed(steps):
  return f'steps {steps}' if steps else 'no steps'


def _free_megabytes(directory):
  try:
    return f'{shutil.disk_usage(directory).free / 1e6:.1f} MB'
  except OSError:
    return 'unknown'
