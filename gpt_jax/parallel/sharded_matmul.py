"""Matmuls on a mesh, with the collectives of ZeRO-3 and Megatron-LM written out.

What is sharded but needed in full is all-gathered before a matmul, partial sums are
reduce-scattered to where their shards live: arXiv:1910.02054, arXiv:2205.05198.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax.core import matmul
from gpt_jax.parallel.reduce_scatter import reduce_scatter
from gpt_jax.parallel.sharding import ShardingRules, activation_axes, parameter_axes


@dataclasses.dataclass(frozen=True)
class MatmulSpec:
  """An einsum of an activation and a kernel whose letters give logical axes."""

  equation: str  # such as 'BTD,DF->BTF'
  kernel_axes: tuple[str | None, ...] | None = None  # None: as those of a parameter

  @property
  def letters(self) -> tuple[str, str, str]:
    """The letters of x, of the kernel and of the output."""
    terms, out = self.equation.split('->')
    x, kernel = terms.split(',')
    return x, kernel, out

  @property
  def axes(self):
    x, kernel, out = self.letters
    kernel_axes = self.kernel_axes or parameter_axes(kernel)
    return activation_axes(x), kernel_axes, activation_axes(out)


def gathered(rules, spec):
  """Returns `spec` for a kernel that is all-gathered before; None where none has to be.

  For whoever makes kernels of less bytes, and gathers those.
  """
  plan = _plan(rules, spec)
  if plan is None or not plan.kernel.gathered:
    return None
  names = list(spec.axes[1])
  for dim, mesh_axes in plan.kernel.gathered:
    if set(rules.mesh_axes_of(names[dim])) - set(mesh_axes):
      return None  # a part of it stays sharded
    names[dim] = None
  return dataclasses.replace(spec, kernel_axes=tuple(names))


def sharded_matmul(rules, specs, x, kernels):
  """Returns the einsums of `x` and each of `kernels` as a list, in the dtype of `x`.

  Several kernels (query, key, value) share one gather of `x` and one sum of its
  gradient. The first dimension of `x` is the batch; `rules` None: one device.
  """
  # Left to itself, XLA sums some gradients in float32 and all-reduces others, most of
  # which each device then discards.
  plans = tuple(_plan(rules, spec) for spec in specs)
  if all(plan is None for plan in plans):
    return [
      matmul.einsum(spec.equation, x, kernel)
      for spec, kernel in zip(specs, kernels, strict=True)
    ]
  if len({plan and plan.x for plan in plans}) > 1:
    return [
      sharded_matmul(rules, [spec], x, [kernel])[0]
      for spec, kernel in zip(specs, kernels, strict=True)
    ]
  return list(_sharded_matmul(rules, tuple(specs), plans, x, tuple(kernels)))


@dataclasses.dataclass(frozen=True)
class _Collectives:
  """What it takes to get one array from its shards to the matmul, and back."""

  # (dimension, mesh axes) to all-gather before the matmul.
  gathered: tuple[tuple[int, tuple[str, ...]], ...]
  # Mesh axes that hold partial sums of this array, or of its gradient.
  summed: tuple[str, ...]

  def gather(self, array):
    for dim, axes in self.gathered:
      array = jax.lax.all_gather(array, axes, axis=dim, tiled=True)
    return array

  def reduce(self, array, mesh):
    """Returns the sum over `summed`, scattered over what `gather` gathers."""
    scattered = {axis for _, axes in self.gathered for axis in axes}
    replicated = tuple(axis for axis in self.summed if axis not in scattered)
    for dim, axes in self.gathered:
      array = reduce_scatter(array, mesh, axes, dim)
    return jax.lax.psum(array, replicated) if replicated else array

  def reduced_matmul(self, equation, x, y, dtype, mesh):
    """Returns `reduce` of a matmul, computed with the scattered dimension in front."""
    # A TPU pads the innermost dimension to 128 lanes, and a scan over layers keeps
    # shards as they come: the few columns of `down` on each of 256 devices took eight
    # times their bytes.
    if len(self.gathered) != 1:
      return self.reduce(matmul.contract(equation, x, y, dtype), mesh)
    terms, letters = equation.split('->')
    ((dim, axes),) = self.gathered
    in_front = f'{terms}->{letters[dim]}{letters[:dim]}{letters[dim + 1 :]}'
    collectives = dataclasses.replace(self, gathered=((0, axes),))
    array = collectives.reduce(matmul.contract(in_front, x, y, dtype), mesh)
    return jnp.moveaxis(array, 0, dim)


@dataclasses.dataclass(frozen=True)
class _Plan:
  x: _Collectives
  kernel: _Collectives
  out: _Collectives


def _plan(rules: ShardingRules | None, spec):
  """Returns the _Plan of a MatmulSpec; None where it is left to XLA."""
  # That is where nothing is sharded, and where an array would have to be sliced.
  if rules is None:
    return None
  x, kernel, out = spec.letters
  shards_x, shards_kernel, shards_out = (
    _mesh_axes(rules, letters, names)
    for letters, names in zip(spec.letters, spec.axes, strict=True)
  )
  batch = shards_x[x[0]]
  used = {}  # the mesh axes over which a letter is sharded while it is multiplied
  for letter in x + kernel:
    if letter in kernel:
      used[letter] = tuple(axis for axis in shards_kernel[letter] if axis not in batch)
    else:
      used[letter] = tuple(a for a in shards_x[letter] if a in shards_out[letter])
  collectives = []
  for letters, shards in ((x, shards_x), (kernel, shards_kernel), (out, shards_out)):
    absent = [letter for letter in used if letter not in letters]
    summed = tuple(axis for letter in absent for axis in used[letter])
    gathered = []
    for dim, letter in enumerate(letters):
      rest = shards[letter][len(used[letter]) :]
      if shards[letter] != used[letter] + rest or not set(rest) <= set(summed):
        return None
      if rest:
        gathered.append((dim, rest))
    collectives.append(_Collectives(tuple(gathered), summed))
  axes = [axis for each in used.values() for axis in each]
  if len(axes) != len(set(axes)) or not any(each.summed for each in collectives):
    return None
  return _Plan(*collectives)


def _mesh_axes(rules, letters, names):
  """Returns the mesh axes of more than one device that shard each letter."""
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


def _names(specs):
  """Returns the logical axes of x, of all kernels and of all outputs."""
  x, kernels, outs = zip(*(spec.axes for spec in specs), strict=True)
  return x[0], kernels, outs


def _forward(rules, specs, plans, x, kernels):
  def local(x, kernels):
    x = plans[0].x.gather(x)
    outs = []
    for spec, plan, kernel in zip(specs, plans, kernels, strict=True):
      out = matmul.contract(spec.equation, x, plan.kernel.gather(kernel), x.dtype)
      outs.append(plan.out.reduce(out, rules.mesh))
    return tuple(outs)

  x_names, kernel_names, out_names = _names(specs)
  run = _shard_map(rules, local, (x_names, kernel_names), out_names)
  return run(x, kernels), (x, kernels)


def _backward(rules, specs, plans, saved, d_outs):
  def local(x, kernels, d_outs):
    x = plans[0].x.gather(x)
    dx, d_kernels = 0, []
    for spec, plan, kernel, d_out in zip(specs, plans, kernels, d_outs, strict=True):
      x_letters, kernel_letters, out_letters = spec.letters
      d_out = plan.out.gather(d_out.astype(x.dtype))
      equation = f'{kernel_letters},{out_letters}->{x_letters}'
      dx += matmul.contract(equation, plan.kernel.gather(kernel), d_out, x.dtype)
      equation = f'{x_letters},{out_letters}->{kernel_letters}'
      d_kernels.append(
        plan.kernel.reduced_matmul(equation, x, d_out, kernel.dtype, rules.mesh)
      )
    return plans[0].x.reduce(dx, rules.mesh), tuple(d_kernels)

  x_names, kernel_names, out_names = _names(specs)
  in_names, grad_names = (x_names, kernel_names, out_names), (x_names, kernel_names)
  return _shard_map(rules, local, in_names, grad_names)(*saved, d_outs)


def _value(rules, specs, plans, x, kernels):
  return _forward(rules, specs, plans, x, kernels)[0]


_sharded_matmul = jax.custom_vjp(_value, nondiff_argnums=(0, 1, 2))
_sharded_matmul.defvjp(_forward, _backward)


def sum_over_batch(rules, parts, names):
  """Returns the sum over the first dimension of `parts`, sharded as `names` say."""
  # That dimension stands for the devices over which the batch is sharded.
  total = parts.sum(0)
  if rules is None:
    return total
  batch = _mesh_axes(rules, 'P', ('batch',))['P']
  shards = [_mesh_axes(rules, 'P', (name,))['P'] for name in names]
  mine = [(dim, axes) for dim, axes in enumerate(shards) if set(axes) & set(batch)]
  if len(mine) != 1 or not set(mine[0][1]) <= set(batch):
    return rules.constrain(total, *names)
  (dim, axes), mesh = mine[0], rules.mesh
  collectives = _Collectives(((dim, axes),), batch)
  inside = tuple(None if i == dim else name for i, name in enumerate(names))
  return _shard_map(
    rules,
    lambda parts: collectives.reduce(parts.sum(0), mesh),
    (('batch', *inside),),
    names,
  )(parts)
