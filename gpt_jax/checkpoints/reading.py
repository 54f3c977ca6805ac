"""What a saved step says of itself: the shapes of an item, its JSON record.

Nothing here loads an array. Damaged files raise whatever Orbax raises for them.
"""

import orbax.checkpoint as ocp
from etils import epath

from gpt_jax.checkpoints import memory, ocdbt


def tree(item_folder):
  """Returns Orbax's metadata of an item: leaves with shape and dtype.

  Raises CheckpointError for names and sizes that no run of ours has written.
  """
  ocdbt.require_safe_names(item_folder)
  path = epath.Path(item_folder)
  found = ocp.StandardCheckpointHandler().metadata(path).tree
  memory.refuse_large_chunks(found, path)
  return found


def record(meta_folder):
  """Returns the JSON record of a step, `{meta, metrics}`."""
  found = ocp.JsonCheckpointHandler().restore(epath.Path(meta_folder))
  return dict(meta=found['meta'], metrics=found['metrics'])
