"""How Orbax is set up, and how it writes an item: digested by who wrote it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp

from gpt_jax.checkpoints import digests
from gpt_jax.core import pytree


class DigestingHandler(ocp.StandardCheckpointHandler):
  """Orbax's handler of trees; each process also digests the files that it wrote."""

  async def async_save(self, directory, *args, **kwargs):
    written = await super().async_save(directory, *args, **kwargs)
    folder = getattr(directory, 'path', directory)
    return [_Digested(written or [], folder, kwargs['args'].on_thread)]


@ocp.args.register_with_handler(DigestingHandler, for_save=True)
@dataclasses.dataclass
class Save(ocp.args.StandardSave):
  """A tree of arrays to be saved with its digests."""

  on_thread: Callable[[], None] = lambda: None
  """Called in the thread that waits for the arrays to be written, before it does."""


@ocp.args.register_with_handler(DigestingHandler, for_restore=True)
@dataclasses.dataclass
class Restore(ocp.args.StandardRestore):
  """A tree of ShapeDtypeStructs to be restored."""


@dataclasses.dataclass
class _Digested:
  """Done (see orbax.checkpoint.future) once all is `written` and digested."""

  written: list[Any]
  directory: Any
  on_thread: Callable[[], None]

  def result(self, timeout=None):
    self.on_thread()
    for future in self.written:
      future.result(timeout)
    digests.write_part(self.directory, jax.process_index())


def open_manager(directory, *, keep, pruned, write_manifest, meet, read_only):
  """Returns Orbax's manager of `directory`, which keeps what any of `keep` would.

  `write_manifest()` is called before the rename that commits a step, `meet` where processes wait
  for each other. Steps to be pruned go through the folder named `pruned`.
  """
  hooks = ocp.options.AsyncOptions(
    post_finalization_callback=write_manifest, barrier_sync_fn=meet
  )
  return ocp.CheckpointManager(
    directory,
    options=ocp.CheckpointManagerOptions(
      preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(keep),
      # Also where a save is waited for: only this way writes digests before the rename
      # that commits a step.
      enable_async_checkpointing=not read_only,
      async_options=None if read_only else hooks,
      read_only=read_only,
      create=not read_only,
      save_interval_steps=0 if read_only else 1,
      todelete_subdir=None if read_only else pruned,
      # Opening reads no step: a damaged old one must not keep a run from resuming.
      lightweight_initialize=True,
    ),
  )


def require_arrays(items):
  """Raises TypeError naming the first leaf of `items` that is not a jax.Array."""
  for item, tree in items.items():
    for name, leaf in pytree.named_leaves(tree):
      # Orbax would restore a numpy leaf without looking at its shape.
      if not isinstance(leaf, jax.Array):
        raise TypeError(f'{item}/{name}: expected a jax.Array, got {type(leaf)}')
