"""Loss spikes, told on the device by the losses before: a median and its deviation.

A spike is a loss above the median of the last `guard.spike_window` accepted ones by
`guard.spike_threshold` robust standard deviations, 1.4826 times the median absolute
deviation (Rousseeuw and Croux 1993, doi:10.1080/01621459.1993.10476408). Unlike mean
and standard deviation, the two do not move with the spikes themselves. The window is a
part of the train state: a resumed run judges as the uninterrupted one would have.
"""

import flax.struct
import jax
import jax.numpy as jnp

from gpt_jax.core.types import Array

MAD_TO_SIGMA = 1.4826
"""Turns the median absolute deviation of a normal distribution into its sigma."""
SMALLEST_SPREAD = 1e-3
"""Of the median: losses that hardly differ make no spike of their rounding."""


@flax.struct.dataclass
class Window:
  """The losses of the last accepted steps, a ring; W slots."""

  losses_W: Array
  """float32; the slots that wait for their first loss hold zeros."""
  count: Array
  """How many were accepted so far, int32."""


def empty_window(size):
  """Returns a Window of `size` losses that has seen none."""
  return Window(jnp.zeros(size, jnp.float32), jnp.zeros((), jnp.int32))


def window_of(guard):
  """Returns what a GuardConfig's train state starts with: a Window, None without."""
  return None if guard.spikes == 'off' else empty_window(guard.spike_window)


def fresh(abstract):
  """Returns the empty Window of the shapes and shardings of `abstract`."""
  return jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), abstract
  )


def highest_loss(window, threshold):
  """Returns the loss above which the next step is a spike; inf until all W are seen."""
  median = jnp.median(window.losses_W)
  deviation = jnp.median(jnp.abs(window.losses_W - median))
  spread = jnp.maximum(MAD_TO_SIGMA * deviation, SMALLEST_SPREAD * median)
  is_full = window.count >= window.losses_W.size
  return jnp.where(is_full, median + threshold * spread, jnp.inf)


def accept(window, loss):
  """Returns the Window after an accepted step."""
  slot = window.count % window.losses_W.size
  return Window(window.losses_W.at[slot].set(loss), window.count + 1)
