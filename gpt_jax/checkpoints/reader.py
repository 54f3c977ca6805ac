"""The checkpoints of a run, to read: which steps there are, and what they hold."""

import contextlib
import sys

import jax
import orbax.checkpoint as ocp

from gpt_jax.checkpoints import handler, memory, orbax_logging, tree_diff, unsigned
from gpt_jax.checkpoints.integrity import META, Integrity, committed
from gpt_jax.checkpoints.retention import BestSteps
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.storage import failures
from gpt_jax.storage.places import place
from gpt_jax.workdir import files


class CheckpointReader:
  """The steps in a folder, to read only. Every process makes the same calls."""

  def __init__(self, directory, best_metric='', keep_best=0, best_mode='min'):
    orbax_logging.silence()
    self.directory = place(directory)
    files.require_usable_name(self.directory)
    self.integrity = Integrity(self.directory)
    self._best = BestSteps(best_metric, keep_best, best_mode)
    self._manager = self._open()

  def _open(self):
    return handler.open_reader(self.directory)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def close(self):
    self._manager.close()

  # Steps

  def steps(self):
    return committed(self.directory)

  def latest_step(self):
    """Returns the newest committed step, or None."""
    return max(self.steps(), default=None)

  def best_step(self):
    """Returns the committed step with the best metric, or None."""
    self._read_scores()
    return next(iter(self._best.ranked(self.steps())), None)

  def latest_valid_step(self, report=None):
    """Returns the newest step whose files are as they were saved, None without steps.

    `report(text)` is called for each damaged step above it (default: standard error).
    Raises CheckpointError when there are steps and none of them is valid.
    """
    report, damaged = report or print_warning, []
    while (step := max(set(self.steps()) - set(damaged), default=None)) is not None:
      problem = self.integrity.find_damage(step)
      if problem is None:
        if self.integrity.predates_digests(step):
          place = self.directory / str(step)
          report(f'{place}: saved without digests, so not checked.')
        return step
      outcome = self._pass_over(step)
      if outcome is None:
        continue
      damaged.append(step)
      report(
        f'{problem}\nThat step is {outcome}, nothing was deleted; the newest valid step'
        ' before it is used. Check the disk.'
      )
    if damaged:
      raise CheckpointError(
        f'{self.directory}: every step is damaged, {damaged}. Bring a copy back, or'
        ' use a new workdir to start from the beginning.'
      )
    return None

  def _pass_over(self, step):
    """Returns what becomes of a damaged step; None: the run has pruned it meanwhile."""
    return 'passed over' if step in self.steps() else None

  # What a step holds

  def items(self, step):
    """Returns the names of the array items that `step` holds, sorted."""
    folders = (path for path in self._folder(step).iterdir() if path.is_dir())
    return sorted(path.name for path in folders if path.name != META)

  def read_meta(self, step):
    """Returns the JSON record that was saved with `step`."""
    return self._read_record(step, 'meta')

  def read_metrics(self, step):
    """Returns the finite metrics that were saved with `step`, by name."""
    return self._read_record(step, 'metrics')

  def abstract(self, step, item, sharding=None):
    """Returns an item's tree of ShapeDtypeStructs, in dicts and lists; loads nothing.

    With a `sharding` it is a target for `restore`.
    """
    return jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
      self._saved_tree(step, item),
    )

  def restore(self, step, abstract_items):
    """Returns the items named in `abstract_items`, placed as their leaves say.

    Each leaf is a ShapeDtypeStruct with its sharding; nothing is cast or cropped.
    Raises CheckpointError, before an array is loaded, when arrays differ (each is
    listed, as saved and as wanted), the step is damaged, or memory does not suffice.
    """
    self.require_valid(step)
    found = []
    for item, tree in abstract_items.items():
      found += tree_diff.differences(self._saved_tree(step, item), tree, item)
    if found:
      raise CheckpointError(tree_diff.report(self._folder(step), found))
    memory.require_fit(abstract_items, self._folder(step))
    arguments = {
      name: handler.restore_arguments(self.directory, unsigned.targets(tree))
      for name, tree in abstract_items.items()
    }
    with self._read_errors(step, '+'.join(abstract_items)):
      restored = self._manager.restore(step, args=ocp.args.Composite(**arguments))
    return {
      item: unsigned.decoded(restored[item], tree)
      for item, tree in abstract_items.items()
    }

  def restore_leaves(self, step, item, leaves):
    """Returns `{name: array}` of some arrays of an item; the others are not read.

    `leaves`: name -> ShapeDtypeStruct, as for `restore`, which raises the same errors.
    """
    self.require_valid(step)
    saved = dict(pytree.named_leaves(self._saved_tree(step, item)))
    known = {name: saved[name] for name in leaves if name in saved}
    if found := tree_diff.differences(known, leaves, item):
      raise CheckpointError(tree_diff.report(self._folder(step), found))
    memory.require_fit({item: leaves}, self._folder(step))
    wanted = pytree.nested(leaves)
    part = handler.restore_part(unsigned.targets(wanted))
    with self._read_errors(step, item):
      restored = self._manager.restore(step, args=ocp.args.Composite(**{item: part}))
    return dict(pytree.named_leaves(unsigned.decoded(restored[item], wanted)))

  def require_valid(self, step):
    """Raises CheckpointError, on all processes, when a file of `step` is damaged."""
    self._folder(step)
    if problem := self.integrity.find_damage(step):
      raise CheckpointError(
        f'{problem}\nUse another step; in the folder: {self._others(step)}.'
      )

  # Parts

  def _folder(self, step):
    if step not in (steps := self.steps()):
      raise CheckpointError(
        f'no checkpoint of step {step} in {self.directory}; it holds {listed(steps)}.'
      )
    return self.directory / str(step)

  def _others(self, step):
    return listed([other for other in self.steps() if other != step])

  def _saved_tree(self, step, item):
    if item not in self.items(step):
      raise CheckpointError(
        f'{self._folder(step)} has no item {item!r}; it has {self.items(step)}.'
      )
    with self._read_errors(step, item):
      tree = handler.read_tree(self._folder(step) / item)
    with self._read_errors(step, META):
      record = handler.read_record(self._folder(step) / META)
    return unsigned.declared(tree, record, item)

  def _read_record(self, step, key):
    folder = self._folder(step) / META
    with self._read_errors(step, META):
      return handler.read_record(folder)[key]

  @contextlib.contextmanager
  def _read_errors(self, step, item):
    """Turns what damaged files raise into a CheckpointError that names other steps."""
    try:
      yield
    except (CheckpointError, StorageError):  # a bucket that does not answer, too
      raise
    except Exception as error:  # by what is damaged: KeyError, JSONDecodeError, ...
      told = failures.of_store(error, self.directory)
      if isinstance(told, StorageError):
        raise told from error
      raise CheckpointError(
        f'{self.directory / str(step) / item} cannot be read:'
        f' {orbax_logging.first_line(error)}\nThat step is damaged or incomplete; also'
        f' in the folder: {self._others(step)}.'
      ) from error

  def _read_scores(self):
    for step in self.steps():
      with contextlib.suppress(CheckpointError):  # damaged: it cannot be the best
        self._best.record(step, self.read_metrics(step))


def print_warning(text):
  print(text, file=sys.stderr)


def listed(steps):
  return f'steps {steps}' if steps else 'no steps'
