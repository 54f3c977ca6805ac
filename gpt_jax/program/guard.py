"""Steps that would do harm change nothing: decided on the device, without a wait.

A step whose loss or gradient is no finite number, or whose loss is a spike
(`spikes.py`), makes no update: parameters, moments and averages stay, bit for bit. The
step counts all the same, so that data, randomness and learning rate go on.
`bad_steps.py` reads what was decided with the other metrics, a step late.
"""

import jax
import jax.numpy as jnp
import optax

from gpt_jax.program import spikes


def judge(loss, grad_norm, window, threshold):
  """Returns whether a step may update, bool; `window` None: spikes are no matter."""
  is_good = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
  if window is None:
    return is_good
  return is_good & (loss <= spikes.highest_loss(window, threshold))


def choose(is_good, after, before):
  """Returns the tree `after`, or `before` where the step made no update.

  A schedule's counter moves on in either case: the learning rate belongs to the step.
  """

  def pick(new, old):
    if isinstance(new, optax.ScaleByScheduleState):
      return new
    return jnp.where(is_good, new, old)

  return jax.tree.map(
    pick, after, before, is_leaf=lambda x: isinstance(x, optax.ScaleByScheduleState)
  )
