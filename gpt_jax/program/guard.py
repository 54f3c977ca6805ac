"""Which steps may update: decided on the device, without a wait for the host.

A bad step, whose loss, gradient norm or new parameters are not finite or whose loss is
a spike, changes no parameter, moment or average in any bit. It counts all the same, so
that data, randomness and learning rate advance. The host learns of it a step late.
"""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from gpt_jax.core.types import Array
from gpt_jax.optimizers import OPTIMIZERS

# Standard deviation of a normal distribution over its median absolute deviation.
MAD_TO_SIGMA = 1.4826
# Of the median: where losses hardly differ, their rounding must not be a spike.
MIN_SPREAD = 1e-3


@flax.struct.dataclass
class LossHistory:
  """The losses of the last accepted steps, a ring buffer; a part of the train state."""

  losses_W: Array  # float32; zeros until W steps are accepted
  count: Array  # of accepted steps, int32


def empty_history(size):
  """Returns a LossHistory for `size` losses that has seen none."""
  return LossHistory(jnp.zeros(size, jnp.float32), jnp.zeros((), jnp.int32))


def initial_history(cfg):
  """Returns the empty LossHistory of a GuardConfig; None with guard.spikes='off'."""
  return None if cfg.spikes == 'off' else empty_history(cfg.spike_window)


def highest_loss(history, threshold):
  """Returns the loss above which the next step is a spike; inf until W are known.

  The median and `threshold` robust standard deviations, by the median absolute
  deviation: Rousseeuw and Croux 1993, doi:10.1080/01621459.1993.10476408.
  """
  # Unlike mean and standard deviation, these do not move with the spikes themselves.
  median = jnp.median(history.losses_W)
  deviation = jnp.median(jnp.abs(history.losses_W - median))
  spread = jnp.maximum(MAD_TO_SIGMA * deviation, MIN_SPREAD * median)
  is_full = history.count >= history.losses_W.size
  return jnp.where(is_full, median + threshold * spread, jnp.inf)


def append(history, loss):
  """Returns the LossHistory after an accepted step."""
  slot = history.count % history.losses_W.size
  return LossHistory(history.losses_W.at[slot].set(loss), history.count + 1)


def is_good_step(loss, grad_norm, history, threshold):
  """Returns whether a step may update, bool; without a history no loss is a spike."""
  is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
  if history is None:
    return is_finite
  return is_finite & (loss <= highest_loss(history, threshold))


def must_check(config):
  """Returns whether finite gradients may give parameters that are not, for a Config."""
  # Ours cannot in float32, as `optimizer.eps` is no zero there. The check reads
  # gradients, moments and parameters once more: 2 % of a GPT-2 124M step of 16 rows on
  # a TPU v5e. float16 ends at 65,504; plug-ins do what they do.
  cfg = config.optimizer
  is_ours = cfg.name in OPTIMIZERS and not cfg.post_update
  return config.model.param_dtype == 'float16' or not is_ours


def is_finite(tree):
  """Returns whether every number in `tree` is finite, bool."""
  return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def select(is_good, after, before):
  """Returns the tree `after` a good step, else `before`."""

  def pick(new, old):
    if isinstance(new, optax.ScaleByScheduleState):
      return new  # the learning rate belongs to the step
    if new is old:  # frozen: XLA:CPU would copy what is in 4 bits, to choose it twice
      return old
    return jnp.where(is_good, new, old)

  return jax.tree.map(
    pick, after, before, is_leaf=lambda x: isinstance(x, optax.ScaleByScheduleState)
  )
