"""Numbers of a program as its inputs: programs that differ in numbers alone become one.

A learning rate, a decay, an epsilon: what a config says in numbers stands in the
traced program as literals and constants. `trace` reads a function; functions of one
`structure` differ in `values` at most; `lift` makes one function of them, which takes
the values that differ. Nothing has to be known of what a field means or where it acts.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gpt_jax.program import jaxpr_calls

Path = tuple
"""Where a value stands: numbers of equations, names of parameters, from outside in."""

_PLACES = ('sharding_constraint', 'reshard')
"""Primitives that say where their operand lies, and change no number of it."""
_CONSTANT, _INPUT, _OUTPUT = 'constant', 'input', 'output'


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
  """A function as jax traces it for arguments of certain shapes."""

  closed: ClosedJaxpr
  out_tree: Any
  structure: tuple[str, ...]  # all but the values, a line for each equation
  values: Mapping[Path, np.ndarray]  # literals and constants

  @property
  def key(self):
    """Returns a digest of the structure."""
    return hashlib.sha256('\n'.join(self.structure).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Lifted:
  """Functions of one structure as one: `lifted(numbers, *args)`, to be jitted."""

  traced: Traced  # any of them
  paths: tuple[Path, ...]  # of the values that are inputs
  keeps_shardings: bool = True  # or leaves out what says where arrays lie

  def numbers(self, traced):
    """Returns the inputs that make this function the one of `traced`: few arrays."""
    # A hundred scalars would cost more than some steps: those of a dtype are one.
    values = [traced.values[path] for path in self.paths]
    return tuple(
      np.stack([values[i] for i in places]) for places in self._packed(values)
    )

  def __call__(self, numbers, *args):
    values = [self.traced.values[path] for path in self.paths]
    lifted = {}
    for stacked, places in zip(numbers, self._packed(values), strict=True):
      lifted |= {self.paths[place]: stacked[i] for i, place in enumerate(places)}
    out = _evaluate(
      self.traced.closed, (), lifted, jax.tree.leaves(args), self.keeps_shardings
    )
    return jax.tree.unflatten(self.traced.out_tree, out)

  def _packed(self, values):
    """Returns the places of the values that have one dtype and shape, for each."""
    places = {}
    for i, value in enumerate(values):
      places.setdefault((value.dtype, value.shape), []).append(i)
    return list(places.values())


class NotLiftable(Exception):
  """A value stands where it cannot become an input; the text says where."""


def trace(function: Callable, *args):
  """Returns the Traced of `function`; `args` may be ShapeDtypeStructs."""
  closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
  lines, values = [], {}
  _read(closed, (), lines, values)
  return Traced(closed, jax.tree.structure(shapes), tuple(lines), values)


def differing(traced: Sequence[Traced]):
  """Returns the Paths of the values in which some of one structure differ."""
  first, *others = traced
  assert all(each.structure == first.structure for each in others)
  seen = {path: _identity(value) for path, value in first.values.items()}
  return tuple(
    path
    for path in first.values
    if any(_identity(each.values[path]) != seen[path] for each in others)
  )


def lift(traced: Sequence[Traced], paths=None, keeps_shardings=True):
  """Returns the Lifted of functions that have one structure.

  `paths` default to those that differ. Without `keeps_shardings` the function says
  nothing of devices, so that it may be a part of any other. Raises NotLiftable.
  """
  paths = differing(traced) if paths is None else tuple(paths)
  lifted = Lifted(traced[0], paths, keeps_shardings)
  for path in paths:
    _require_liftable(traced[0].closed, path)
  return lifted


def groups(traced: Sequence[Traced]):
  """Returns, for each of one structure, the number of the group that it can join.

  Those of a group differ in nothing but values that `lift` takes.
  """
  fixed = [path for path in differing(traced) if not _is_liftable(traced[0], path)]
  of_each = [tuple(_identity(each.values[path]) for path in fixed) for each in traced]
  numbers = {values: i for i, values in enumerate(dict.fromkeys(of_each))}
  return [numbers[values] for values in of_each]


def difference(one: Traced, other: Traced):
  """Returns the first equation in which two structures part, in words, or ''."""
  for here, there in zip(one.structure, other.structure, strict=False):
    if here != there:
      return f'{_shown(here)} where the other has {_shown(there)}'
  if len(one.structure) != len(other.structure):
    return f'{len(one.structure)} equations where the other has {len(other.structure)}'
  return ''


def _shown(line):
  return line if len(line) <= 60 else line[:57] + '...'


def _read(closed, path, lines, values):
  """Adds the structure and the values of a ClosedJaxpr to `lines` and `values`."""
  jaxpr, names = closed.jaxpr, {}

  def name(var):
    return names.setdefault(var, len(names))

  def shown(atom, here):
    if isinstance(atom, Literal):
      aval: Any = atom.aval
      values[here] = np.asarray(atom.val, aval.dtype)
      return f'{aval.dtype}{list(aval.shape)}'
    return f'%{name(atom)}'

  for i, (var, value) in enumerate(zip(jaxpr.constvars, closed.consts, strict=True)):
    values[*path, _CONSTANT, i] = _as_numbers(value)
    name(var)
  lines.append(' '.join(f'%{name(var)}:{var.aval.str_short()}' for var in jaxpr.invars))
  for i, eqn in enumerate(jaxpr.eqns):
    here = (*path, i)
    ins = ' '.join(shown(atom, (*here, _INPUT, j)) for j, atom in enumerate(eqn.invars))
    outs = ' '.join(f'%{name(var)}:{var.aval.str_short()}' for var in eqn.outvars)
    lines.append(f'{outs} = {eqn.primitive} {_text(eqn.params)} {ins}{_host(eqn)}')
    for key, inner in jaxpr_calls.inner(eqn.params):
      _read(inner, (*here, *key), lines, values)
  outs = (shown(a, (*path, _OUTPUT, j)) for j, a in enumerate(jaxpr.outvars))
  lines.append(' '.join(outs))


def _as_numbers(value):
  """Returns a constant as a numpy array; of PRNG keys, their data."""
  return np.asarray(jax.random.key_data(value) if _is_key(value) else value)


def _is_key(value):
  return jnp.issubdtype(jnp.result_type(value), jax.dtypes.prng_key)


def _host(equation):
  """Returns which function on the host an equation calls, '' where it calls none."""
  # By name two closures are one, and what they have closed over may differ.
  callback = equation.params.get('callback')
  return f' {id(getattr(callback, "callback_func", callback))}' if callback else ''


def _text(value):
  """Returns a parameter of an equation without what differs from trace to trace."""
  if isinstance(value, Jaxpr | ClosedJaxpr):
    return 'jaxpr'  # read apart
  if isinstance(value, Mapping):
    return ' '.join(f'{key}={_text(value[key])}' for key in sorted(value, key=str))
  if isinstance(value, tuple | list):
    return f'({" ".join(map(_text, value))})'
  if isinstance(value, np.ndarray | jax.Array):
    return _identity(_as_numbers(value))
  if callable(value) and not isinstance(value, type):
    return getattr(value, '__qualname__', type(value).__name__)
  return re.sub(r'0x[0-9a-f]+', '', str(value))


def _identity(value):
  if value.nbytes > 64:
    return f'{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}'
  return f'{value.dtype}{value.shape}{value.tobytes().hex()}'


def _is_liftable(traced, path):
  try:
    _require_liftable(traced.closed, path)
  except NotLiftable:
    return False
  return True


def _require_liftable(closed, path):
  """Raises NotLiftable where `path` leads into what `_evaluate` does not rebuild."""
  rest = path
  while len(rest) > 2 and isinstance(rest[0], int):
    eqn = closed.jaxpr.eqns[rest[0]]
    if rest[1] == _INPUT:
      return
    name = eqn.primitive.name
    if name not in jaxpr_calls.INLINED and name not in jaxpr_calls.REBUILT:
      raise NotLiftable(f'a number inside of {name}')
    key = rest[1:3]
    closed = dict(jaxpr_calls.inner(eqn.params))[key]
    rest = rest[3:]


def _evaluate(closed, path, lifted, args, keeps_shardings):
  """Returns the outputs of a ClosedJaxpr for `args`; `lifted`: {Path: value}."""
  jaxpr, known = closed.jaxpr, {}

  def read(atom, here):
    if isinstance(atom, Literal):
      return lifted.get(here, atom.val)
    return known[atom]

  for i, (var, value) in enumerate(zip(jaxpr.constvars, closed.consts, strict=True)):
    known[var] = _constant(lifted.get((*path, _CONSTANT, i)), value)
  known.update(zip(jaxpr.invars, args, strict=True))
  for i, eqn in enumerate(jaxpr.eqns):
    here = (*path, i)
    inputs = [read(atom, (*here, _INPUT, j)) for j, atom in enumerate(eqn.invars)]
    name = eqn.primitive.name
    if name in _PLACES and not keeps_shardings:
      outputs = inputs
    elif name in jaxpr_calls.INLINED:
      key, inner = jaxpr_calls.called(eqn)
      outputs = _evaluate(inner, (*here, *key), lifted, inputs, keeps_shardings)
    elif name in jaxpr_calls.REBUILT:
      outputs = _rebuild(eqn, here, lifted, inputs, keeps_shardings)
    else:
      params = eqn.primitive.get_bind_params(eqn.params)
      if not keeps_shardings:
        params = {key: _without_sharding(value) for key, value in params.items()}
      outputs = eqn.primitive.bind(*inputs, **params)
      outputs = outputs if eqn.primitive.multiple_results else [outputs]
    known.update(zip(eqn.outvars, outputs, strict=True))
  return [read(a, (*path, _OUTPUT, j)) for j, a in enumerate(jaxpr.outvars)]


def _constant(lifted, value):
  """Returns the constant `value`, with `lifted` numbers in its place unless None."""
  if lifted is None or not _is_key(value):
    return value if lifted is None else lifted
  return jax.random.wrap_key_data(lifted, impl=jax.random.key_impl(value))


def _without_sharding(value):
  return None if isinstance(value, jax.sharding.Sharding) else value


def _rebuild(eqn, here, lifted, inputs, keeps_shardings):
  """Returns the outputs of control flow that takes the `lifted` inside as operands."""
  paths = [
    path for path in lifted if path[: len(here)] == here and len(path) > len(here)
  ]
  paths = [path for path in paths if path[len(here)] != _INPUT]
  numbers = [jnp.asarray(lifted[path]) for path in paths]

  def call(key, numbers, args):
    inside = dict(zip(paths, numbers, strict=True))
    inner = dict(jaxpr_calls.inner(eqn.params))[key]
    return _evaluate(inner, (*here, *key), inside, args, keeps_shardings)

  return jaxpr_calls.REBUILT[eqn.primitive.name](eqn, call, numbers, inputs)
