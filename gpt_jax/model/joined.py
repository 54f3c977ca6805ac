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
    linears = [params.get(name) for name in names]
    if all(_is_plain(linear) for linear in linears):
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
  kernel_DF = leaves['kernel'].astype(x_BTD.dtype)
  # Products of many tokens are bound by arithmetic, and write heads where they go.
  is_one_product = x_BTD.shape[1] == 1
  y_BTF: Any = None
  if is_one_product:
    y_BTF = einsum('BTD,DF->BTF', x_BTD, kernel_DF)
  ys, start = [], 0
  for equation in equations:
    letters = _kept(equation)
    end = start + math.prod(sizes(letters))
    if is_one_product:
      y = _arranged(y_BTF[..., start:end], letters, equation, sizes)
    else:
      kernel = kernel_DF[:, start:end].reshape(-1, *sizes(letters))
      y = einsum(equation, x_BTD, kernel)
    if 'bias' in leaves:
      y += _beside(y, leaves['bias'][start:end], letters, equation, sizes)
    ys.append(y)
    start = end
  return ys


def _kept(equation):
  """Returns the letters of a kernel that are the output's too."""
  terms, out = equation.split('->')
  return ''.join(letter for letter in terms.split(',')[1] if letter in out)


def _arranged(y_BTF, letters, equation, sizes):
  """Returns `y_BTF`, whose last dimension is that of `letters`, as the output is."""
  y = y_BTF.reshape(*y_BTF.shape[:2], *sizes(letters))
  return y.transpose([f'BT{letters}'.index(x) for x in equation.split('->')[1]])


def _beside(y, bias_F, letters, equation, sizes):
  """Returns a bias in the dtype of `y`, and in a shape to be added to it."""
  out = equation.split('->')[1]
  shape = [sizes(letter)[0] if letter in letters else 1 for letter in out]
  return bias_F.astype(y.dtype).reshape(shape)


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
