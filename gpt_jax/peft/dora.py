"""DoRA: LoRA of a matrix's directions, its magnitudes apart, arXiv:2402.09353, eq. 5.

  W' = m (W + s A B) / |W + s A B|      |.| of the weights of each output, m = |W| first

The norm takes no gradient (section 4.3).
"""

import jax
import jax.numpy as jnp

from gpt_jax.peft.adapter import Leaf
from gpt_jax.peft.low_rank import LORA_A, LORA_B, update_of

MAGNITUDE = 'lora_magnitude'


def leaves_of(linear):
  """Returns {name: Leaf} of the magnitudes, one an output."""
  shape = (*linear.stack, *linear.sizes(linear.kept))
  axes = (*linear.stack_axes, *linear.axes_of(linear.kept))
  return {f'{linear.path}/{MAGNITUDE}': Leaf(shape, axes, jax.nn.initializers.ones)}


def begin(targets):
  """Returns the function of `Adapter.begin`: magnitudes as they are."""

  def start(leaves, observe):
    del observe
    return {
      f'{linear.path}/{MAGNITUDE}': norm(linear, leaves[linear.kernel])
      for linear in targets
    }

  return start


def norm(linear, kernel):
  """Returns the L2 norm of the weights of each output, float32."""
  first = kernel.ndim - len(linear.letters[1])
  summed = range(first, first + len(linear.contracted))
  return jnp.sqrt(jnp.square(kernel.astype(jnp.float32)).sum(tuple(summed)))


def ratio(linear, kernel, magnitude):
  """Returns what `kernel` is multiplied by, to have the norms `magnitude`."""
  found = magnitude / norm(linear, kernel)
  first = found.ndim - len(linear.kept)
  return jnp.expand_dims(found, tuple(range(first, first + len(linear.contracted))))


def rescale(module, linear, scale, y):
  """Returns the output `y`, without bias, of a Linear that reads its adapted kernel."""
  a, b = (module.get_variable('params', name) for name in (LORA_A, LORA_B))
  kernel = jax.lax.stop_gradient(
    module.matmul_kernel().astype(jnp.float32) + scale * update_of(linear, a, b)
  )
  magnitude = module.get_variable('params', MAGNITUDE)
  found = magnitude / norm(linear, kernel)
  out, kept = linear.letters[2], linear.kept
  sizes = dict(zip(kept, found.shape, strict=True))
  shape = [sizes.get(letter, 1) for letter in out]
  return y * found.reshape(shape).astype(y.dtype)
