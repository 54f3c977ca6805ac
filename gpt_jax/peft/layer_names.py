"""Parameters of scanned layers (one array for all) by the names of unrolled layers."""

import numpy as np

STACK = 'layers/'


def unrolled_leaves(leaves):
  """Returns `{name: array}` with `layers/x` as `layers_0/x`, `layers_1/x`, ..."""
  found = {}
  for name, array in leaves.items():
    rest = name.removeprefix(STACK)
    if rest == name:
      found[name] = array
    else:
      found |= {f'layers_{i}/{rest}': one for i, one in enumerate(array)}
  return found


def stacked_leaves(leaves):
  """Returns what `unrolled_leaves` was given."""
  found, stacks = {}, {}
  for name, array in leaves.items():
    layer, _, rest = name.partition('/')
    if layer.startswith('layers_'):
      stacks.setdefault(rest, {})[int(layer.removeprefix('layers_'))] = array
    else:
      found[name] = array
  return found | {
    STACK + rest: np.stack([layers[i] for i in sorted(layers)])
    for rest, layers in stacks.items()
  }


def stored_name(name, is_scanned):
  """Returns the name under which the parameter `name` of unrolled layers lies."""
  layer, _, rest = name.partition('/')
  return STACK + rest if is_scanned and layer.startswith('layers_') else name
