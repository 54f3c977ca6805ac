"""Several adapters over one base in one batch, a choice of each row.

  y_b = x_b W + (x_b A[i_b]) B[i_b]        A [N + 1, .., R], B [N + 1, R, ..], i_b data

As in S-LoRA, arXiv:2311.03285, section 5: the base is multiplied once for all rows, and
factors are gathered by row. Number 0 is the base itself, all zeros. Ranks below the
largest are padded with zeros, which add nothing.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.matmul import einsum
from gpt_jax.core.registry import nearest
from gpt_jax.model import stacking
from gpt_jax.model.layers import Linear
from gpt_jax.peft import linears
from gpt_jax.peft.adapter import Adapter, Leaf
from gpt_jax.peft.low_rank import LORA_A, LORA_B, low_rank

CHOICE = 'adapter_B'
"""In the parameters of one call: the number of the adapter of each row, int32 [B], or
of all rows, int32 []. Without it a model is the base."""
ROWS_A, ROWS_B = 'lora_a_rows', 'lora_b_rows'
"""Factors that were chosen, beside the kernels."""


@dataclasses.dataclass(frozen=True, eq=False)
class BatchedAdapter(Adapter):
  """Adapters of which each row of a batch has one, or none."""

  names: tuple[str, ...] = ()

  def number(self, name):
    """Returns that of an adapter; ConfigError for one that is not there."""
    if name is None:
      return 0
    if name in self.names:
      return 1 + self.names.index(name)
    hint = nearest(str(name), list(self.names))
    way_out = f'did you mean {hint!r}?' if hint else 'name one, or None for the base.'
    raise ConfigError(
      f'adapter={name!r}: the run was loaded with {", ".join(self.names)}; {way_out}'
    )

  def bound(self, params):
    return gathered(params)


def with_choice(params, numbers):
  """Returns the parameters of a call whose rows have the adapters of these numbers."""
  return params | {CHOICE: numbers}


def gathered(params):
  """Returns `params` with the factors that the CHOICE in them names, if one is there.

  Before a loop over tokens: XLA:CPU would gather anew at each of them.
  """
  if CHOICE not in params:
    return params
  chosen = {LORA_A: ROWS_A, LORA_B: ROWS_B}
  leaves = {}
  for name, leaf in pytree.named_leaves(params):
    parent, _, last = name.rpartition('/')
    if last in chosen:
      leaves[f'{parent}/{chosen[last]}'] = leaf[params[CHOICE]]
    elif name != CHOICE:
      leaves[name] = leaf
  return pytree.nested(leaves)


def _intercept(call, args, kwargs, context):
  module = context.module
  is_adapted = isinstance(module, Linear) and module.has_variable('params', ROWS_A)
  if not is_adapted or context.method_name != 'finish':
    return call(*args, **kwargs)
  x, y = args
  a, b = (module.get_variable('params', name) for name in (ROWS_A, ROWS_B))
  _, kernel, out = letters = module.spec.letters
  is_shared = b.ndim == 1 + sum(letter in out for letter in kernel)
  product = low_rank if is_shared else _low_rank_of_rows
  return call(x, y + product(letters, x, a, b))


def _low_rank_of_rows(letters, x, a, b):
  """Returns `x A B` with factors of each row, whose letter comes first."""
  x_letters, kernel, out = letters
  row = x_letters[0]
  reads = ''.join(letter for letter in kernel if letter not in out)
  writes = ''.join(letter for letter in kernel if letter in out)
  inner = einsum(f'{x_letters},{row}{reads}R->{row}TR', x, a.astype(x.dtype))
  return einsum(f'{row}TR,{row}R{writes}->{out}', inner, b.astype(x.dtype))


def make(cfg, factors):
  """Returns (BatchedAdapter, {name: array} of its stacks) of several adapters.

  Args:
    cfg: the ModelConfig of the base, layers unrolled.
    factors: {name: factors of an adapter, as `Adapter.factors` gives them}, layers
      unrolled or not.
  """
  targets = {linear.path: linear for linear in linears.find(cfg)}
  unrolled = {name: _unrolled(each) for name, each in factors.items()}
  added, stacks = {}, {}
  for path in sorted({path for each in unrolled.values() for path in each}):
    linear, pairs = targets[path], [each.get(path) for each in unrolled.values()]
    rank = max(pair[1].shape[0] for pair in pairs if pair)
    a, b = _stack(linear, pairs, rank)
    axes_a = (None, *linear.axes_of(linear.contracted), None)
    axes_b = (None, None, *linear.axes_of(linear.kept))
    for name, stack, axes in (LORA_A, a, axes_a), (LORA_B, b, axes_b):
      leaf = Leaf(stack.shape, axes, jax.nn.initializers.zeros, trains=False)
      added[f'{path}/{name}'], stacks[f'{path}/{name}'] = leaf, stack
  adapter = BatchedAdapter(
    name='batched', added=added, intercept=_intercept, names=tuple(factors)
  )
  return adapter, stacks


def _stack(linear, pairs, rank):
  """Returns the stacks of A and B of a linear map, zeros for each pair that is None."""
  reads, writes = linear.sizes(linear.contracted), linear.sizes(linear.kept)
  a = [jnp.zeros((*reads, rank))]
  b = [jnp.zeros((rank, *writes))]
  for pair in pairs:
    if pair is None:
      a.append(a[0])
      b.append(b[0])
      continue
    missing = rank - pair[1].shape[0]
    a.append(jnp.pad(pair[0], [*[(0, 0)] * len(reads), (0, missing)]))
    b.append(jnp.pad(pair[1], [(0, missing), *[(0, 0)] * len(writes)]))
  return jnp.stack(a), jnp.stack(b)


def _unrolled(factors):
  """Returns factors {linear map: (A, B)} with those of each layer apart."""
  leaves = {}
  for path, (a, b) in factors.items():
    leaves |= {f'{path}/{LORA_A}': a, f'{path}/{LORA_B}': b}
  found = dict(pytree.named_leaves(stacking.unstack(pytree.nested(leaves))))
  ending = f'/{LORA_A}'
  paths = [name.removesuffix(ending) for name in found if name.endswith(ending)]
  return {path: (found[path + ending], found[f'{path}/{LORA_B}']) for path in paths}
