"""A checkpoint that is read as another model's: what such readers have in common."""

from gpt_jax.core import pytree


class ConvertedReader:
  """What a CheckpointReader has; a subclass says `abstract` and `restore_leaves`."""

  def __init__(self, store):
    """Takes an open CheckpointReader, which it closes."""
    self._store = store

  def __getattr__(self, name):
    return getattr(self._store, name)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._store.close()

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
    raise NotImplementedError
