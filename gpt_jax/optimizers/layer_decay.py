"""Layer-wise learning rates: the lower a layer, the less it moves.

With d = `optimizer.layer_decay`, the rates of layers l = 0 .. L - 1 are the optimizer's
times d^(L - l), those of embeddings times d^(L + 1), all others as they are. Howard and
Ruder, arXiv:1801.06146, section 3.2, with d = 1 / 2.6; for Transformers as in ELECTRA,
arXiv:2003.10555, appendix B.
"""

import numpy as np

from gpt_jax.core import pytree
from gpt_jax.optimizers import depths


def multipliers(decay, params):
  """Returns {name: what its learning rate is multiplied by}, without those of 1.

  That of a stack of layers is a vector along its leading axis, float32 [L, 1, ...].
  `params`: all of them, or their shapes.
  """
  if decay == 1:
    return {}
  leaves = dict(pytree.named_leaves(params))
  length = depths.cycle_length(leaves)
  num_layers = length * _num_groups(leaves)
  found = {}
  for name, leaf in leaves.items():
    place = depths.place(name)
    if depths.EMBEDDINGS.search(name):
      found[name] = decay ** (num_layers + 1)
    elif place is not None and place.group is not None:
      found[name] = decay ** (num_layers - place.group * length - place.block)
    elif place is not None:
      layer_L = np.arange(leaf.shape[0]) * length + place.block
      rate_L = (decay ** (num_layers - layer_L)).astype(np.float32)
      found[name] = rate_L.reshape(-1, *[1] * (len(leaf.shape) - 1))
  return found


def metric_rates(decay, num_layers, peak):
  """Returns {metric: peak rate} of the slowest parameters, those of the embeddings."""
  if decay == 1:
    return {}
  return {'learning_rate_embeddings': peak * decay ** (num_layers + 1)}


def _num_groups(leaves):
  counts = [0]
  for name, leaf in leaves.items():
    if (place := depths.place(name)) is not None:
      counts.append(leaf.shape[0] if place.group is None else place.group + 1)
  return max(counts)
