"""What training carries from step to step, and where each part of it lives."""

import flax.struct
import jax

from gpt_jax.core import pytree
from gpt_jax.core.types import Array, PyTree
from gpt_jax.optimizers import trainable

PROJECTIONS = 'distill_projections'
"""Among the parameters of a training: those of `hidden_distance`, no part of the model.
They are saved apart, so that readers of a model never see them."""


def of_model(params):
  """Returns `params`, a tree by names, without the PROJECTIONS."""
  if PROJECTIONS not in params:
    return params
  return {name: tree for name, tree in params.items() if name != PROJECTIONS}


@flax.struct.dataclass
class TrainState:
  """A whole run between two steps; the data position is arithmetic on `step`."""

  step: Array  # done, int32
  seed: Array  # int32; `step.random_keys` has what a step draws from it
  params: PyTree
  opt_state: PyTree
  ema: PyTree | None = None  # averaged parameters, when optimizer.ema_decay > 0
  loss_history: PyTree | None = None  # guard.LossHistory, when guard.spikes is on
  start: PyTree | None = None  # w0 of `l2_sp`, of the trained parameters
  # Parameters of other models that the loss reads, by name. Not saved: they are read
  # again from their own workdirs.
  references: PyTree | None = None

  @property
  def averaged(self):
    """Returns the parameters to evaluate: the average where there is one."""
    params = self.params
    if self.ema is not None:
      params = trainable.merge(self.ema, params)
    return of_model(params)

  def as_items(self):
    """Returns this state as checkpoint items: readers of `params` load nothing else."""
    train = dict(step=self.step, seed=self.seed, opt_state=self.opt_state)
    optional = dict(ema=self.ema, window=self.loss_history, start=self.start)
    kept = {name: tree for name, tree in optional.items() if tree is not None}
    items = dict(params=self.params, train=train) | kept
    if PROJECTIONS not in self.params:
      return items
    apart = {name: items[name] for name in ('params', 'ema') if name in items}
    items |= {name: of_model(tree) for name, tree in apart.items()}
    projections = {name: tree[PROJECTIONS] for name, tree in apart.items()}
    return items | {PROJECTIONS: projections}

  @classmethod
  def from_items(cls, items):
    """Returns the state whose `as_items` are `items`."""
    for name, tree in items.get(PROJECTIONS, {}).items():
      items = items | {name: items[name] | {PROJECTIONS: tree}}
    optional = dict(
      ema=items.get('ema'), loss_history=items.get('window'), start=items.get('start')
    )
    return cls(params=items['params'], **items['train'], **optional)


def shardings_like(tree, params, param_shardings, replicated):
  """Returns a sharding per leaf of `tree`, an optimizer state made from `params`."""
  # A leaf that has the name and shape of a parameter (Adam's moments) is sharded like
  # it; everything else (counts, Adafactor's rows and columns) is replicated.
  shapes = {name: leaf.shape for name, leaf in pytree.named_leaves(params)}
  shardings = dict(pytree.named_leaves(param_shardings))

  def sharding_of(name, leaf):
    while name and name not in shapes:
      _, _, name = name.partition('/')
    return shardings[name] if name and shapes[name] == leaf.shape else replicated

  return pytree.map_named(sharding_of, tree)


def with_shardings(tree, shardings):
  """Returns ShapeDtypeStructs of `tree` that carry `shardings`."""
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
    tree,
    shardings,
  )
