"""PiSSA: LoRA that starts at the principal singular vectors of W, arXiv:2404.02948.

  W = U S V,   s A B = U_r S_r V_r with A = U_r sqrt(S_r / s), B = sqrt(S_r / s) V_r

The paper takes U_r S_r V_r out of the frozen matrix. Here W stays, so that an adapter
fits the model that it was trained on, and the start of A B is subtracted instead:
y = x W + s (x A B - x A_0 B_0), the same function with the same gradients.
"""

import jax.numpy as jnp
import numpy as np

from gpt_jax.peft.adapter import Leaf
from gpt_jax.peft.low_rank import LORA_A, LORA_B

START_A, START_B = 'lora_a_start', 'lora_b_start'


def leaves_of(linear, rank):
  """Returns {name: Leaf} of A_0 and B_0, which stay."""
  reads, writes = linear.contracted, linear.kept

  def zeros(key, shape, dtype):
    del key
    return jnp.zeros(shape, dtype)

  stack, axes = linear.stack, linear.stack_axes
  return {
    f'{linear.path}/{START_A}': Leaf(
      (*stack, *linear.sizes(reads), rank), (*axes, *linear.axes_of(reads), None),
      zeros, trains=False,
    ),
    f'{linear.path}/{START_B}': Leaf(
      (*stack, rank, *linear.sizes(writes)), (*axes, None, *linear.axes_of(writes)),
      zeros, trains=False,
    ),
  }  # fmt: skip


def begin(targets, ranks, scales):
  """Returns the function of `Adapter.begin`."""

  def start(leaves, observe):
    del observe
    found = {}
    for linear in targets:
      a, b = principal(
        linear, leaves[linear.kernel], ranks[linear.path], scales[linear.path]
      )
      for name, array in (LORA_A, a), (START_A, a), (LORA_B, b), (START_B, b):
        found[f'{linear.path}/{name}'] = array
    return found

  return start


def principal(linear, kernel, rank, scale):
  """Returns (A, B), float32: `scale` times their product is the rank-r part of W."""
  stack = linear.stack
  flat = np.asarray(kernel, np.float32).reshape(*stack, linear.fan_in, linear.fan_out)
  left, values, right = np.linalg.svd(flat, full_matrices=False)
  root = np.sqrt(values[..., :rank] / scale)
  a = left[..., :, :rank] * root[..., None, :]
  b = root[..., :, None] * right[..., :rank, :]
  return (
    a.reshape(*stack, *linear.sizes(linear.contracted), rank),
    b.reshape(*stack, rank, *linear.sizes(linear.kept)),
  )
