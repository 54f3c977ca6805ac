"""Where a parameter stands between the embeddings and the outputs, by its name."""

import dataclasses
import re

EMBEDDINGS = re.compile(r'^(embed|position|token_type|embed_norm)/')
"""Names of what a token is read from, and of the norm after it (BERT)."""
HEADS = re.compile(r'^(task_head|head|head_transform|head_bias|pooler)(/|$)')
"""Names of what outputs are made by, after the last norm."""

_LAYER = re.compile(r'^layers(?:_(?P<group>\d+))?/(?:block_(?P<block>\d+)/)?')


@dataclasses.dataclass(frozen=True)
class Place:
  """The block of a cycle of `model.layer_pattern`, and the number of the cycle."""

  group: int | None  # None: all of them, along the leading axis
  block: int


def place(name):
  """Returns the Place of a parameter of the layers, None for the others."""
  found = _LAYER.match(name)
  if found is None:
    return None
  group = found['group']
  return Place(None if group is None else int(group), int(found['block'] or 0))


def cycle_length(names):
  """Returns the number of blocks in a cycle of layers."""
  return 1 + max((each.block for each in map(place, names) if each), default=0)
