"""The checkpoints of a run with an adapter, read as those of the plain model."""

import functools

import jax

from gpt_jax import peft
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from gpt_jax.objectives import describe
from gpt_jax.program import build, init_from, restore
from gpt_jax.program.base import Base


class MergedReader:
  """What a CheckpointReader has, with the adapter merged into the base.

  Its steps, records and best step are those of the run. Raises CheckpointError where
  the adapter cannot be merged.
  """

  def __init__(self, store, config):
    """Takes an open CheckpointReader and the Config of its run."""
    self._store, self._adapter = store, peft.make_adapter(config)
    if self._adapter.merged is None:
      raise CheckpointError(
        f'{store.directory.parent}: peft.name={config.peft.name!r} cannot be merged'
        ' into a plain model: it computes what no plain model does. Evaluate, predict'
        ' and generate take the run as it is.'
      )
    head = make_head(config, describe(config).num_outputs)
    model = GPT(config.model, task_head=head)
    plain = jax.eval_shape(functools.partial(build.init_params, model=model), 0)
    self._plain = dict(pytree.named_leaves(plain))

  def __getattr__(self, name):
    return getattr(self._store, name)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._store.close()

  def abstract(self, step, item, sharding=None):
    """Returns the tree of ShapeDtypeStructs of the plain model."""
    del step, item
    return pytree.nested(
      {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for name, leaf in self._plain.items()
      }
    )

  def restore(self, step, abstract_items):
    """Returns items of parameters, placed as the leaves of `abstract_items` say."""
    return {
      item: pytree.nested(
        self.restore_leaves(step, item, dict(pytree.named_leaves(tree)))
      )
      for item, tree in abstract_items.items()
    }

  def restore_leaves(self, step, item, leaves):
    """Returns `{name: array}` of some parameters, placed as ShapeDtypeStructs say."""
    merges, found = self._adapter.merged, {}
    parts = {one for name in leaves if name in merges for one in merges[name].names}
    everywhere = init_from.replicated(next(iter(leaves.values())).sharding)
    wanted = {
      name: jax.ShapeDtypeStruct(
        leaf.shape,
        leaf.dtype,
        sharding=leaves[name].sharding if name in leaves else everywhere,
      )
      for name, leaf in (self._plain | dict(self._adapter.added)).items()
      if name in parts or name in leaves
    }
    base = Base.of_step(self._store, step)
    arrays = restore.read_adapted(self._store, step, item, base, wanted)
    for name, leaf in leaves.items():
      if name in merges:
        make = jax.jit(merges[name].make, out_shardings=leaf.sharding)
        found[name] = make(*(arrays[one] for one in merges[name].names))
      else:
        found[name] = arrays[name]
    return found
