"""Linear maps of the same input as one product: how decoding on a CPU reads them.

Prepared parameters have one kernel [D, F] in place of those of queries, keys and
values, or of an MLP's halves. One long product keeps all cores reading; between short
ones they fall asleep (docs/performance.md).
"""

import math
from typing import Any

import jax.numpy as jnp

from gpt_jax.core.matmul import einsum
from gpt_jax.quantization import packed

NAME = 'joined'
GROUPS = (('query', 'key', 'value'), ('up', 'gate'))
"""Names of linear maps with the same input, in the order of their columns."""


def join(params) -> Any:
  """Returns `params` of unrolled layers with one kernel for each of GROUPS."""
  params = {
    name: join(tree) if isinstance(tree, dict) else tree
    for name, tree in params.items()
  }
  for names in GROUPS:
    linears = [params.get(name, {}) for name in names]
    # All of them have a bias, or none.
    if all(map(_is_plain, linears)) and len({frozenset(each) for each in linears}) == 1:
      rest = {name: tree for name, tree in params.items() if name not in names}
      params = rest | {NAME: _columns(linears)}
  return params


def leaves_of(linears):
  """Returns the joined parameters of bound Linears; None: each has its own."""
  if tuple(linear.name for linear in linears) not in GROUPS:
    return None
  return linears[0].parent.get_variable('params', NAME)


def multiply(leaves, equations, sizes, x_BTD):
  """Returns the output of each linear map, with its bias.

  `equations` are theirs, such as 'BTD,DHK->BHTK'; `sizes` gives the shape of letters.
  """
  y_BTF = einsum('BTD,DF->BTF', x_BTD, leaves['kernel'].astype(x_BTD.dtype))
  if 'bias' in leaves:
    y_BTF += leaves['bias'].astype(y_BTF.dtype)
  kept = [_kept(equation) for equation in equations]
  widths = [math.prod(sizes(letters)) for letters in kept]
  ends = [sum(widths[:i]) for i in range(1, len(widths))]
  parts = zip(jnp.split(y_BTF, ends, axis=-1), kept, equations, strict=True)
  return [
    _arranged(part_BTF.reshape(*x_BTD.shape[:2], *sizes(letters)), letters, equation)
    for part_BTF, letters, equation in parts
  ]


def _kept(equation):
  """Returns the letters of a kernel that are the output's too."""
  terms, out = equation.split('->')
  return ''.join(letter for letter in terms.split(',')[1] if letter in out)


def _arranged(y, letters, equation):
  """Returns `y`, whose dimensions are 'BT' and `letters`, as the output's are."""
  return y.transpose([f'BT{letters}'.index(x) for x in equation.split('->')[1]])


def _is_plain(linear):
  """Returns whether a subtree is of a linear map with its kernel in full."""
  return (
    isinstance(linear, dict)
    and 'kernel' in linear
    and set(linear) <= {'kernel', 'bias'}
    and not packed.is_packed(linear['kernel'])
  )


def _columns(linears):
  """Returns the kernel [D, F], and the bias [F] where there are any."""
  kernels = [linear['kernel'] for linear in linears]
  joined = [kernel.reshape(len(kernel), -1) for kernel in kernels]
  leaves = {'kernel': jnp.concatenate(joined, axis=1)}
  if 'bias' in linears[0]:
    biases = [linear['bias'].reshape(-1) for linear in linears]
    leaves['bias'] = jnp.concatenate(biases)
  return leaves
