"""How Orbax is set up, and how it writes and reads an item, a tree of arrays."""

import dataclasses
import glob
import os
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from gpt_jax.checkpoints import digests, memory, ocdbt, s3_arrays
from gpt_jax.core import pytree
from gpt_jax.storage import kvstore, objects
from gpt_jax.storage.urls import is_remote, scheme_of


class DigestingHandler(ocp.StandardCheckpointHandler):
  """Orbax's handler of trees; each process also digests the files that it wrote."""

  async def async_save(self, directory, *args, **kwargs):
    save = kwargs['args']
    tree = self._validate_save_state(save.item, save_args=save.save_args)
    written = await self._impl.async_save(
      directory,
      args=ocp.args.PyTreeSave(
        tree, save.save_args, ocdbt_target_data_file_size=save.file_bytes
      ),
    )
    folder = getattr(directory, 'path', directory)
    return [_Digested(written or [], folder, save.on_thread)]

  def finalize(self, directory):
    super().finalize(_literal(directory))

  def restore(self, directory, *args, **kwargs):
    return super().restore(_literal(directory), *args, **kwargs)


class Literal(type(epath.Path())):
  """A path of which `glob` takes the pattern alone for one, as that of pathlib does."""

  # Orbax 0.12 finds by a glob what processes wrote: in a folder called x[1] nothing,
  # and it wrote no database over them, without a word.
  def glob(self, pattern):
    found = glob.glob(os.path.join(glob.escape(os.fspath(self)), pattern))
    return map(epath.Path, found)


def _literal(path):
  return epath.Path(path) if is_remote(path) else Literal(path)


@ocp.args.register_with_handler(DigestingHandler, for_save=True)
@dataclasses.dataclass
class Save(ocp.args.StandardSave):
  """A tree of arrays to be saved with its digests."""

  on_thread: Callable[[], None] = lambda: None
  """Called in the thread that waits for the arrays to be written, before it does."""
  file_bytes: int | None = None
  """Of a data file, which is in memory until it is full; None: two gigabytes."""


class ObjectsHandler(DigestingHandler):
  """The same in a bucket, where each shard of an array is an object of its own."""

  # Without a database of which each of many writes would replace the one root object.
  def __init__(self, **options):
    super().__init__(**options, use_ocdbt=False)


@ocp.args.register_with_handler(ObjectsHandler, for_save=True)
@dataclasses.dataclass
class SaveObjects(Save):
  """As Save, into a bucket."""


def save_arguments(directory, tree, on_thread, file_bytes=None):
  """Returns Orbax's arguments to save a tree of arrays below `directory`."""
  if not is_remote(directory):
    return Save(tree, on_thread=on_thread, file_bytes=file_bytes)
  parts = s3_arrays.in_parts(tree) if scheme_of(directory) == 's3' else None
  return SaveObjects(tree, save_args=parts, on_thread=on_thread)


@ocp.args.register_with_handler(DigestingHandler, for_restore=True)
@dataclasses.dataclass
class Restore(ocp.args.StandardRestore):
  """A tree of ShapeDtypeStructs to be restored."""


@ocp.args.register_with_handler(ObjectsHandler, for_restore=True)
@dataclasses.dataclass
class RestoreObjects(Restore):
  """As Restore, from a bucket."""


def restore_arguments(directory, tree):
  """Returns Orbax's arguments to restore ShapeDtypeStructs from below `directory`."""
  return (RestoreObjects if is_remote(directory) else Restore)(tree)


@dataclasses.dataclass
class _Digested:
  """A future (see orbax.checkpoint.future): done once all is `written` and digested."""

  written: list[Any]
  directory: Any
  on_thread: Callable[[], None]

  def result(self, timeout=None):
    self.on_thread()
    for future in self.written:
      future.result(timeout)
    digests.write_part(self.directory, jax.process_index())


def open_writer(directory, *, keep, pruned, write_manifest, barrier):
  """Returns Orbax's manager of `directory`, which keeps what any policy of `keep` does.

  `write_manifest()` is called before the rename that commits a step, `barrier` where
  processes wait for each other. Steps to be pruned go through the folder `pruned`.
  """
  kvstore.check_access(directory, writing=jax.process_index() == 0)
  manager = _open(
    directory,
    preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(keep),
    # Also where a save is waited for: a synchronous save has no callback between the
    # digests and the rename that commits the step.
    enable_async_checkpointing=True,
    async_options=ocp.options.AsyncOptions(
      post_finalization_callback=write_manifest, barrier_sync_fn=barrier
    ),
    # A bucket renames nothing. There Orbax would ask Google for the kind of bucket.
    todelete_subdir=None if is_remote(directory) else pruned,
  )
  if is_remote(directory):
    manager._checkpoint_deleter = BucketDeleter(directory)
  return manager


class BucketDeleter:
  """Removes steps from a bucket for Orbax's manager: the object COMMIT first."""

  def __init__(self, directory):
    self._directory = directory

  def delete(self, step):
    """Removes a step; every process calls it, the first one does it."""
    if jax.process_index() == 0:
      objects.remove_tree(self._directory / str(step))

  def delete_steps(self, steps):
    for step in steps:
      self.delete(step)

  def close(self):
    """Does nothing: nothing is under way."""


def open_reader(directory):
  """Returns Orbax's manager of `directory`, which never writes there."""
  kvstore.check_access(directory, writing=False)
  return _open(
    directory,
    read_only=True,
    create=False,
    save_interval_steps=0,
    enable_async_checkpointing=False,
  )


def _open(directory, **options):
  # Lightweight: opening reads no step, so a damaged old one keeps no run from resuming.
  if scheme_of(directory) == 's3':
    s3_arrays.install(directory)
  if is_remote(directory):
    commit = ocp.options.AtomicityMode.COMMIT_FILE
    options['atomicity_options'] = ocp.options.AtomicityOptions(mode=commit)
  settings = ocp.CheckpointManagerOptions(lightweight_initialize=True, **options)
  return ocp.CheckpointManager(directory, options=settings)


def require_arrays(items):
  """Raises TypeError naming the first leaf of `items` that is not a jax.Array."""
  for item, tree in items.items():
    for name, leaf in pytree.named_leaves(tree):
      # Orbax would restore a numpy leaf without looking at its shape.
      if not isinstance(leaf, jax.Array):
        raise TypeError(f'{item}/{name}: expected a jax.Array, got {type(leaf)}')


def read_tree(item_folder):
  """Returns Orbax's metadata of an item, with shapes and dtypes; reads no array.

  Raises CheckpointError for names and chunks that are unsafe, and for damaged files
  whatever Orbax does.
  """
  ocdbt.require_safe_names(item_folder)
  path = _literal(item_folder)
  found = ocp.StandardCheckpointHandler().metadata(path).tree
  memory.refuse_large_chunks(found, path)
  return found


def restore_part(tree):
  """Returns Orbax's arguments to restore the ShapeDtypeStructs of `tree` alone."""
  places = ocp.checkpoint_utils.construct_restore_args(tree)
  return ocp.args.PyTreeRestore(item=tree, restore_args=places, partial_restore=True)


def read_record(record_folder):
  """Returns the JSON record of a step: `{meta, metrics, digests}`."""
  return ocp.JsonCheckpointHandler().restore(epath.Path(record_folder))
