"""Matrix products on a mesh, with the communication written out.

ZeRO-3 (arXiv:1910.02054) and Megatron's tensor and sequence parallelism
(arXiv:2205.05198) in one rule: what a mesh axis cuts is gathered before a product that
needs it whole, and a sum that a mesh axis shares is scattered to where its pieces live,
forward and backward, in the precision of the product. Left to itself, XLA sums some
gradients in float32 and all-reduces others, of which each device throws most away.

Several products of one `x` (queries, keys, values) gather it once, and its gradient is
one sum. A layout that the rule does not cover is left to XLA.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core import matmul
from gpt_jax.parallel.reduce_scatter import reduce_scatter
from gpt_jax.parallel.sharding import ShardingRules


@dataclasses.dataclass(frozen=True)
class MatmulSpec:
  """`equation` of x and a kernel, such as 'BTD,DF->BTF', and their logical axes."""

  equation: str
  x_axes: tuple[str | None, ...]
  kernel_axes: tuple[str | None, ...]
  out_axes: tuple[str | None, ...]

  @property
  def letters(self):
    """Returns the letters of x, of the kernel and of the result."""
    terms, out = self.equation.split('->')
    return (*terms.split(','), out)


def sharded_matmul(rules, products, x, kernels):
  """Returns a list: the einsum of `x` and each of `kernels`, in the dtype of `x`.

  Args:
    rules: `sharding.ShardingRules`; None: all on one device.
    products: a MatmulSpec for each kernel, all with the same `x`, whose first dimension is
      the batch.
  """
  layouts = tuple(_layout(rules, product) for product in products)
  if all(layout is None for layout in layouts):
    return [
      matmul.einsum(product.equation, x, kernel)
      for product, kernel in zip(products, kernels, strict=True)
    ]
  if len({layout and layout.of_x for layout in layouts}) > 1:
    pairs = zip(products, kernels, strict=True)
    return [
      sharded_matmul(rules, [product], x, [kernel])[0] for product, kernel in pairs
    ]
  return list(_multiply(rules, tuple(products), layouts, x, tuple(kernels)))


@dataclasses.dataclass(frozen=True)
class _Collectives:
  """How an array gets from where it is stored to where it is multiplied, and back."""

  gathered: tuple[tuple[int, tuple[str, ...]], ...]
  """(dimension, mesh axes): made whole before the product."""
  shared: tuple[str, ...]
  """Mesh axes that share the sum which is this array, or its gradient."""

  def gather(self, array):
    for dim, axes in self.gathered:
      array = jax.lax.all_gather(array, axes, axis=dim, tiled=True)
    return array

  def scatter(self, array, mesh):
    """Returns the sum over `shared`, cut again where `gather` makes whole."""
    scattered = {axis for _, axes in self.gathered for axis in axes}
    whole = tuple(axis for axis in self.shared if axis not in scattered)
    for dim, axes in self.gathered:
      array = reduce_scatter(array, mesh, axes, dim)
    return jax.lax.psum(array, whole) if whole else array

  def scattered(self, equation, x, y, dtype, mesh):
    """Returns `scatter` of a product, made with the dimension in front that is cut.

    A TPU pads what lies innermost to 128 lanes, and a scan over layers keeps pieces as
    they come: the few columns of `down` on each of 256 devices took eight times their
    room.
    """
    if len(self.gathered) != 1:
      return self.scatter(matmul.contract(equation, x, y, dtype), mesh)
    terms, letters = equation.split('->')
    ((dim, axes),) = self.gathered
    turned = f'{terms}->{letters[dim]}{letters[:dim]}{letters[dim + 1 :]}'
    front = dataclasses.replace(self, gathered=((0, axes),))
    return jnp.moveaxis(
      front.scatter(matmul.contract(turned, x, y, dtype), mesh), 0, dim
    )


@dataclasses.dataclass(frozen=True)
class _Layout:
  of_x: _Collectives
  of_kernel: _Collectives
  of_out: _Collectives


def _layout(rules: ShardingRules | None, product):
  """Returns the _Layout of a product; None where it is XLA's affair.

  That is where nothing is cut, and where an array lies so that it would have to be
  sliced, not gathered.
  """
  if rules is None:
    return None
  x, kernel, out = product.letters
  in_x = _cuts(rules, x, product.x_axes)
  in_kernel = _cuts(rules, kernel, product.kernel_axes)
  in_out = _cuts(rules, out, product.out_axes)
  batch = in_x[x[0]]
  used = {}  # the mesh axes that cut a letter while it is multiplied
  for letter in x + kernel:
    if letter in kernel:
      used[letter] = tuple(axis for axis in in_kernel[letter] if axis not in batch)
    else:
      used[letter] = tuple(axis for axis in in_x[letter] if axis in in_out[letter])
  moves = []
  for letters, cuts in ((x, in_x), (kernel, in_kernel), (out, in_out)):
    summed = [letter for letter in used if letter not in letters]
    shared = tuple(axis for letter in summed for axis in used[letter])
    gathered = []
    for dim, letter in enumerate(letters):
      rest = cuts[letter][len(used[letter]) :]
      if cuts[letter] != used[letter] + rest or not set(rest) <= set(shared):
        return None
      if rest:
        gathered.append((dim, rest))
    moves.append(_Collectives(tuple(gathered), shared))
  axes = [axis for cut in used.values() for axis in cut]
  if len(axes) != len(set(axes)) or not any(move.shared for move in moves):
    return None
  return _Layout(*moves)


def _cuts(rules, letters, names):
  """Returns the mesh axes of more than one device that cut each letter."""
  return {
    letter: tuple(
      axis for axis in rules.mesh_axes_of(name) if rules.mesh.shape[axis] > 1
    )
    for letter, name in zip(letters, names, strict=True)
  }


def _shard_map(rules, function, in_names, out_names):
  return jax.shard_map(
    function,
    mesh=rules.mesh,
    in_specs=jax.tree.map(rules.spec, in_names, is_leaf=_is_names),
    out_specs=jax.tree.map(rules.spec, out_names, is_leaf=_is_names),
    check_vma=False,  # a custom derivative does not say along which axes it varies
  )


def _is_names(tree):
  return isinstance(tree, tuple) and all(isinstance(n, str | None) for n in tree)


def _forward(rules, products, layouts, x, kernels):
  def local(x, kernels):
    x = layouts[0].of_x.gather(x)
    outs = []
    for product, layout, kernel in zip(products, layouts, kernels, strict=True):
      out = matmul.contract(
        product.equation, x, layout.of_kernel.gather(kernel), x.dtype
      )
      outs.append(layout.of_out.scatter(out, rules.mesh))
    return tuple(outs)

  names = (products[0].x_axes, tuple(product.kernel_axes for product in products))
  out_names = tuple(product.out_axes for product in products)
  return _shard_map(rules, local, names, out_names)(x, kernels), (x, kernels)


def _backward(rules, products, layouts, saved, d_outs):
  def local(x, kernels, d_outs):
    x = layouts[0].of_x.gather(x)
    dx, d_kernels = 0, []
    for product, layout, kernel, d_out in zip(
      products, layouts, kernels, d_outs, strict=True
    ):
      x_letters, kernel_letters, out_letters = product.letters
      d_out = layout.of_out.gather(d_out.astype(x.dtype))
      whole = layout.of_kernel.gather(kernel)
      dx += matmul.contract(
        f'{kernel_letters},{out_letters}->{x_letters}', whole, d_out, x.dtype
      )
      equation = f'{x_letters},{out_letters}->{kernel_letters}'
      d_kernels.append(
        layout.of_kernel.scattered(equation, x, d_out, kernel.dtype, rules.mesh)
      )
    return layouts[0].of_x.scatter(dx, rules.mesh), tuple(d_kernels)

  kernel_names = tuple(product.kernel_axes for product in products)
  names = (products[0].x_axes, kernel_names)
  out_names = tuple(product.out_axes for product in products)
  return _shard_map(rules, local, (*names, out_names), names)(*saved, d_outs)


def _value(rules, products, layouts, x, kernels):
  return _forward(rules, products, layouts, x, kernels)[0]


_multiply = jax.custom_vjp(_value, nondiff_argnums=(0, 1, 2))
_multiply.defvjp(_forward, _backward)


def sum_over_batch(rules, parts, names):
  """Returns the sum of `parts` over their first dimension, cut as `names` say.

  That dimension stands for the devices that share out the batch.
  """
  total = parts.sum(0)
  if rules is None:
    return total
  batch = _cuts(rules, 'P', ('batch',))['P']
  cuts = [_cuts(rules, 'P', (name,))['P'] for name in names]
  mine = [(dim, cut) for dim, cut in enumerate(cuts) if set(cut) & set(batch)]
  if len(mine) != 1 or not set(mine[0][1]) <= set(batch):
    return rules.constrain(total, *names)
  (dim, axes), mesh = mine[0], rules.mesh
  moves = _Collectives(((dim, axes),), batch)
  inside = tuple(None if i == dim else name for i, name in enumerate(names))
  return _shard_map(
    rules, lambda parts: moves.scatter(parts.sum(0), mesh), (('batch', *inside),), names
  )(parts)
