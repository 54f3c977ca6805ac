"""VeRA: vectors between two random matrices that layers share, arXiv:2310.11454, eq. 2.

  y = x W + b (((x A) d) B)      A, B random and frozen; d = 0.1, b = 0 at first

A is the same for all targets of one input size, B for all of one output size. Both
follow from a seed, so neither trained vectors nor checkpoints have them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import a_seed, at_least, rate, section
from gpt_jax.peft import linears
from gpt_jax.peft.adapter import Adapter, Leaf, Merge, dropped_out
from gpt_jax.peft.low_rank import low_rank, update_of

VERA_D, VERA_B = 'vera_d', 'vera_b'


@section
class VeraOptions:
  rank: int = at_least(1, default=256)  # may exceed that of the matrix
  targets: str = 'query|value'  # as `lora`
  d_initial: float = 0.1
  seed: int = a_seed(default=0)  # of A and B
  dropout: float = rate(default=0.0)  # of what A reads


@entry(options=VeraOptions)
def make(config):
  """Returns the Adapter of a Config."""
  options = config.peft.options
  targets = linears.choose(config.model, options.targets, 'peft.options.targets')
  shared = shared_matrices(targets, options.rank, options.seed)
  added, merged = {}, {}
  for linear in targets:
    added |= leaves_of(linear, options.rank, options.d_initial)
    merged[linear.kernel] = _merge(linear, *shared[linear.path])
  return Adapter(
    name='vera',
    added=added,
    intercept=_intercept(targets, shared, options.dropout),
    merged=merged,
  )


def shared_matrices(targets, rank, seed):
  """Returns {path: (A [fan_in.., r], B [r, fan_out..])}, float32, equal ones shared.

  Both are uniform by He et al. (arXiv:1502.01852) for what they sum over.
  """
  # Constants of the program rather than parameters: those of layers lie under the scan,
  # where no module sees what stands above it, and a copy for each layer is what the
  # method saves. RandomState, whose numbers numpy promises not to change (NEP 19).
  made = {}

  def matrix(kind, fan_in, shape):
    key = kind, fan_in, shape
    if key not in made:
      size = int(np.prod(shape))
      random = np.random.RandomState([seed, kind, rank, size])
      bound = np.sqrt(6 / fan_in)
      made[key] = random.uniform(-bound, bound, shape).astype(np.float32)
    return made[key]

  return {
    linear.path: (
      matrix(0, linear.fan_in, (*linear.sizes(linear.contracted), rank)),
      matrix(1, rank, (rank, *linear.sizes(linear.kept))),
    )
    for linear in targets
  }


def leaves_of(linear, rank, d_initial):
  """Returns {name: Leaf} of d [r] and b, one an output."""
  stack, axes = linear.stack, linear.stack_axes
  kept = (('embed_vector' if a == 'embed' else a) for a in linear.axes_of(linear.kept))
  return {
    f'{linear.path}/{VERA_D}': Leaf(
      (*stack, rank), (*axes, None), jax.nn.initializers.constant(d_initial)
    ),
    f'{linear.path}/{VERA_B}': Leaf(
      (*stack, *linear.sizes(linear.kept)), (*axes, *kept), jax.nn.initializers.zeros
    ),
  }


def _intercept(targets, shared, dropout):
  def change(module, linear, x, y):
    vectors = (module.get_variable('params', name) for name in (VERA_D, VERA_B))
    a, b = _scaled(*shared[linear.path], *vectors)
    return y + low_rank(linear.letters, dropped_out(module, x, dropout), a, b)

  return linears.intercept_outputs(targets, change)


def _scaled(a, b, vector_d, vector_b):
  """Returns (A d, B b), the factors of the update; with the axis of layers if any."""
  stacked = vector_d.ndim > 1
  vector_d = vector_d.reshape(*vector_d.shape[:stacked], *[1] * (a.ndim - 1), -1)
  return a * vector_d, b * jnp.expand_dims(vector_b, int(stacked))


def _merge(linear, a, b):
  def make(kernel, vector_d, vector_b):
    update = update_of(linear, *_scaled(a, b, vector_d, vector_b))
    return (kernel.astype(jnp.float32) + update).astype(kernel.dtype)

  names = linear.kernel, f'{linear.path}/{VERA_D}', f'{linear.path}/{VERA_B}'
  return Merge(names, make)
