"""Which singular values AdaLoRA keeps: those of the highest scores, arXiv:2303.10512.

  I = |w dL/dw|     S <- b1 S + (1 - b1) I     U <- b2 U + (1 - b2) |I - S|     s = S U

are eq. 8 to 11, for each number w of P, E and Q. The score of a triplet, eq. 7, is that
of its singular value and the means of those of its two vectors. The triplets of all
layers and matrices compete for one budget. What falls out of it is set to zero, and may
return: its vectors stay, and its gradient goes on.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gpt_jax.core import pytree
from gpt_jax.peft.linears import LinearMap

P, E, Q = 'adalora_p', 'adalora_e', 'adalora_q'
"""Names of the parts, beside the `kernel` that they update."""


class AllocationState(NamedTuple):
  """The optimizer's state and what the scores are made of."""

  inner: Any
  # A skipped step counts here too: the budget belongs to the step (`guard.select`).
  steps: optax.ScaleByScheduleState
  sensitivity: Any  # S, float32, of the parts alone
  uncertainty: Any  # U


@dataclasses.dataclass(frozen=True)
class Scores:
  """The decay rates of the averages."""

  beta1: float
  beta2: float

  def update(self, param, gradient, sensitivity, uncertainty):
    """Returns (S, U) after a gradient."""
    now = jnp.abs(param * gradient).astype(jnp.float32)
    sensitivity = self.beta1 * sensitivity + (1 - self.beta1) * now
    off = jnp.abs(now - sensitivity)
    return sensitivity, self.beta2 * uncertainty + (1 - self.beta2) * off


def names_of(linear):
  """Returns the names of P, E and Q of a LinearMap."""
  return tuple(f'{linear.path}/{part}' for part in (P, E, Q))


def wrap_optimizer(optimizer, targets: list[LinearMap], schedule, scores):
  """Returns `optimizer` with a last step: singular values over budget become zero.

  `schedule` is an `adalora_budget.Schedule`. The update of one that is masked is its
  negative, so it is exactly zero after the step.
  """
  names = [name for linear in targets for name in names_of(linear)]

  def init(params):
    leaves = dict(pytree.named_leaves(params))
    sensitivity, uncertainty = (
      pytree.nested({n: jnp.zeros(leaves[n].shape, jnp.float32) for n in names})
      for _ in range(2)
    )
    steps = optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))
    return AllocationState(optimizer.init(params), steps, sensitivity, uncertainty)

  def update(updates, state, params=None):
    gradients = updates
    updates, inner = optimizer.update(gradients, state.inner, params)
    step = state.steps.count + 1
    averages = _averages(gradients, state, params, step)
    keeps = _keeps(targets, *averages, schedule.budget_at(step))
    masks = schedule.masks_at(step)

    def masked(name, update, param):
      if name not in keeps:
        return update
      return jnp.where(masks & ~keeps[name], -param, update).astype(update.dtype)

    updates = pytree.map_named(masked, updates, params)
    steps = optax.ScaleByScheduleState(step)
    kept = (pytree.nested(each) for each in averages)
    return updates, AllocationState(inner, steps, *kept)

  def _averages(gradients, state, params, step):
    """Returns ({name: S}, {name: U}); those of the last steps stay."""
    leaves, slopes = (dict(pytree.named_leaves(tree)) for tree in (params, gradients))
    before = [
      dict(pytree.named_leaves(each)) for each in (state.sensitivity, state.uncertainty)
    ]
    found = {}, {}
    for name in names:
      old = [each[name] for each in before]
      new = scores.update(leaves[name], slopes[name], *old)
      for into, now, was in zip(found, new, old, strict=True):
        into[name] = jnp.where(step <= schedule.fixed_from, now, was)
    return found

  return optax.GradientTransformation(init, update)


def triplet_scores(linear, sensitivity, uncertainty):
  """Returns the scores of a matrix's triplets [.., r], by {name: S} and {name: U}."""
  p, e, q = (sensitivity[name] * uncertainty[name] for name in names_of(linear))
  depth = len(linear.stack)
  of_p, of_q = range(depth, p.ndim - 1), range(depth + 1, q.ndim)
  return e + p.mean(tuple(of_p)) + q.mean(tuple(of_q))


def _keeps(targets, sensitivity, uncertainty, budget):
  """Returns {name of E: whether each of its values is among the `budget` best}."""
  found = {
    linear: triplet_scores(linear, sensitivity, uncertainty) for linear in targets
  }
  flat = jnp.concatenate([each.ravel() for each in found.values()])
  # By place, not by a threshold: equal scores must not exceed the budget.
  order = jnp.argsort(flat, descending=True, stable=True)
  is_kept = jnp.zeros(flat.shape, bool).at[order].set(jnp.arange(flat.size) < budget)
  keeps, start = {}, 0
  for linear, each in found.items():
    part = is_kept[start : start + each.size]
    keeps[names_of(linear)[1]] = part.reshape(each.shape)
    start += each.size
  return keeps


def orthogonality(targets, leaves):
  """Returns the mean of |P^T P - I| and |Q Q^T - I| over all matrices, float32.

  Frobenius norms, as the authors' code has them; eq. 4 has their squares.
  """
  distances = []
  for linear in targets:
    p, _, q = (leaves[name] for name in names_of(linear))
    stack, reads, writes = 'L' * len(linear.stack), linear.contracted, linear.kept
    grams = (
      (f'{stack}{reads}R,{stack}{reads}S->{stack}RS', p),
      (f'{stack}R{writes},{stack}S{writes}->{stack}RS', q),
    )
    for equation, factor in grams:
      gram = jnp.einsum(equation, factor, factor, precision='highest')
      squares = jnp.square(gram - jnp.eye(gram.shape[-1])).sum((-2, -1))
      # A root has no gradient at zero.
      distances.append(jnp.sqrt(squares + jnp.finfo(jnp.float32).tiny).ravel())
  return jnp.concatenate(distances).mean()


def rank(targets, leaves):
  """Returns how many singular values are not zero, over all matrices, int32."""
  return sum(jnp.count_nonzero(leaves[names_of(linear)[1]]) for linear in targets)


def ranks_of(params):
  """Returns {path: int array [layers] of the ranks of its matrices}, from parameters.

  A path without the axis of layers has one.
  """
  return {
    name.removesuffix(f'/{E}'): (jax.device_get(leaf) != 0).sum(-1).reshape(-1)
    for name, leaf in pytree.named_leaves(params)
    if name.endswith(f'/{E}')
  }
