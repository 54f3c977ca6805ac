"""Muon: orthogonalized momentum for the matrices of the layers, AdamW for the rest.

Keller Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. The update of a
matrix with fan-in m and fan-out n has singular values near sqrt(max(1, n / m)).
"""

import math
import re

import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from gpt_jax.core import pytree
from gpt_jax.optimizers.mup import by_width

_LAYER_KERNEL = re.compile(r'(^|/)layers(_\d+)?/(.*/)?kernel$')
_FROM_HEADS = re.compile(r'attention/out/kernel$')  # [H, K, D]
_TO_HEADS = re.compile(r'attention/(query|key|value)/kernel$')  # [D, H, K]


@by_width({'readout': -1})
def make(cfg, names):
  """Returns Muon's direction, with `muon_learning_rate` for the kernels of layers.

  Embeddings, head, norms and biases get AdamW with b1, b2, eps and `learning_rate`;
  Muon itself uses `momentum` and `nesterov`.
  """

  def label(name, _=None):
    return 'muon' if is_layer_kernel(name) else 'adamw'

  muon = optax.chain(
    scale_by_muon(
      beta=cfg.momentum,
      nesterov=cfg.nesterov,
      weight_dimension_numbers=lambda tree: pytree.map_named(
        lambda name, _: dimension_numbers(name), tree
      ),
    ),
    optax.stateless(lambda updates, _: pytree.map_named(_widen, updates)),
  )
  direction = optax.partition(
    {'muon': muon, 'adamw': optax.scale_by_adam(cfg.b1, cfg.b2, cfg.eps)},
    lambda tree: pytree.map_named(label, tree),
  )
  peaks = {'muon': cfg.muon_learning_rate, 'adamw': cfg.learning_rate}
  return direction, {name: peaks[label(name)] for name in names}


def is_layer_kernel(name):
  """Returns whether the parameter `name` is a kernel inside a layer."""
  return _LAYER_KERNEL.search(name) is not None


def dimension_numbers(name):
  """Returns the axes of kernel `name` that are the rows and columns of its matrix."""
  return MuonDimensionNumbers(*_rows_and_columns(name))


def _rows_and_columns(name):
  # All heads together are one matrix. Axes count from the end: leading ones (stacked
  # layers, experts) are a batch of matrices, each orthogonalized on its own.
  if _TO_HEADS.search(name):
    return (-3,), (-2, -1)
  if _FROM_HEADS.search(name):
    return (-3, -2), (-1,)
  return (-2,), (-1,)


def _widen(name, update):
  """Returns the orthogonal `update` times sqrt(max(1, fan-out / fan-in))."""
  rows, columns = _rows_and_columns(name)
  fan_in = math.prod(update.shape[axis] for axis in rows)
  fan_out = math.prod(update.shape[axis] for axis in columns)
  return update * math.sqrt(max(1.0, fan_out / fan_in))
