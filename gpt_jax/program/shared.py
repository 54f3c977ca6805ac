"""One compilation for programs that differ in numbers, such as points of a sweep.

The runs of a process hand their Programs to one SharedPrograms. Functions of a program
are traced at their first call; where one was compiled before that is the same but for
numbers in which the announced configs differ, it is used again, with those as inputs
(`literals.py`). Seeds differ in nothing, and so their runs are the same bit for bit.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gpt_jax.config import load
from gpt_jax.config.diff import diff
from gpt_jax.core.errors import UserError
from gpt_jax.parallel.compiler_options import options_for
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import literals, setup
from gpt_jax.program.horizon import START

KINDS = ('init', 'step', 'step_with_norms', 'evaluate')
_RESOLVED = ('vocab_size', 'remat')  # fields of the model that a program fills in


class SharedPrograms:
  """The functions that the programs of a process have compiled."""

  def __init__(self, configs=(), devices=None):
    """Takes the configs to come, whose differences are lifted at once, and devices."""
    self._configs, self._devices = tuple(configs), devices
    self._programs, self._families = {}, {}
    self.hits = self.compiled = 0

  @property
  def num_programs(self):
    """Returns how many training steps were compiled."""
    return sum(
      len(families) for (kind, *_), families in self._families.items() if kind == 'step'
    )

  def open_program(self, config, tokenizer, mesh=None, embedding_rows=None, past=START):
    """Returns `setup.open_program` with functions that compile at most once for all."""
    if mesh is None and self._devices:
      mesh = make_mesh(config.parallel.mesh, self._devices)
    key = repr(_without_seeds(config)), tokenizer.fingerprint, embedding_rows, past
    if key not in self._programs:
      make = functools.partial(setup.make_program, tokenizer=tokenizer, mesh=mesh)
      program = setup.open_program(config, tokenizer, mesh, embedding_rows, past)
      self._programs[key] = self._share(program, make)
    program = self._programs[key]
    resolved = dataclasses.replace(config, model=program.config.model)
    return dataclasses.replace(program, config=resolved)

  def _share(self, program, make):
    variants = functools.cache(functools.partial(self._variants, program, make))
    functions = {
      kind: _Shared(self, kind, program, variants, getattr(program, kind))
      for kind in KINDS
    }
    return dataclasses.replace(program, **functions)

  def _variants(self, program, make):
    """Returns Programs that differ from `program` in one number of the configs each."""
    like, found = _of_shapes(program.config), []
    similar = [config for config in self._configs if _of_shapes(config) == like]
    shapes = _signature(program.abstract_state)
    for config in one_number_each(program.config, similar):
      with contextlib.suppress(UserError):  # no program; its point may have one
        other = make(config)
        if _signature(other.abstract_state) == shapes:
          found.append(other)
    return found

  def find(self, kind, program, variants, function, args):
    """Returns (jitted function, numbers or None) of `kind` for such `args`."""
    member = literals.trace(function.__wrapped__, *_shapes(args))
    families = self._families.setdefault((kind, _signature(args), member.key), [])
    for family in families:
      if family.covers(member):
        self.hits += 1
        break
    else:
      traced = [_trace(getattr(one, kind), args) for one in variants()]
      alike = [one for one in traced if one and one.structure == member.structure]
      family = _Family(function, [member, *alike], _jit_options(kind, program))
      families.append(family)
      self.compiled += 1
    return family.jitted, family.numbers(member)


class _Family:
  """Functions of one structure, and the compiled one that does for all of them."""

  def __init__(self, function, members, jit_options):
    self._member, self._lifted, self.jitted = members[0], None, function
    # Which numbers are inputs follows from the configs alone, not from what ran before:
    # a sweep that was killed goes on with the same bits.
    if paths := literals.differing(members):
      with contextlib.suppress(literals.NotLiftable):
        self._lifted = literals.lift(members, paths)
        self.jitted = jax.jit(self._lifted, **jit_options)

  def covers(self, member):
    """Returns whether `member` differs in nothing but inputs."""
    paths = self._lifted.paths if self._lifted else ()
    return set(literals.differing([self._member, member])) <= set(paths)

  def numbers(self, member):
    return None if self._lifted is None else self._lifted.numbers(member)


class _Shared:
  """A function of a Program, compiled or found at its first call; as a jitted one."""

  def __init__(self, shared, kind, program, variants, function):
    self.__wrapped__ = function.__wrapped__
    self._find = functools.partial(shared.find, kind, program, variants, function)
    self._found = {}

  def __call__(self, *args):
    function, numbers, args = self._for(args)
    return function(*args) if numbers is None else function(numbers, *args)

  def lower(self, *args):
    function, numbers, args = self._for(args)
    if numbers is None:
      return function.lower(*args)
    return function.lower(numbers, *args)

  def _for(self, args):
    # The first argument, state or parameters, always has the same shapes.
    args = (args[0], *map(_as_arrays, args[1:]))
    key = _signature(args[1:])
    if key not in self._found:
      self._found[key] = self._find(args)
    return *self._found[key], args


def _without_seeds(config):
  """Returns `config` without what its program does not read."""
  data = dataclasses.replace(config.data, seed=0)
  return dataclasses.replace(config, seed=0, data=data)


def _of_shapes(config):
  """Returns what decides the shapes of a run, and a little more."""
  model = {
    name: value
    for name, value in load.to_dict(config)['model'].items()
    if name not in _RESOLVED and not isinstance(value, float)
  }
  return model, config.train.batch_size, config.data.seq_len, config.optimizer.name


def one_number_each(config, others):
  """Yields copies of `config`, each with one number of one of the `others`."""
  mine, seen = load.to_dict(config), set()
  for other in others:
    for field, old, new in diff(mine, load.to_dict(other)):
      is_number = all(type(value) in (int, float) for value in (old, new))
      if is_number and field not in seen:
        seen.add(field)
        yield with_field(config, field, new)


def with_field(config, field, value):
  """Returns `config` with another value of `field`, a dotted name."""
  name, _, rest = field.partition('.')
  if isinstance(config, Mapping):  # options, sets
    return {**config, name: with_field(config[name], rest, value) if rest else value}
  if rest:
    value = with_field(getattr(config, name), rest, value)
  return dataclasses.replace(config, **{name: value})


def _trace(function, args):
  """Returns the Traced of a variant, None where it takes no such `args`."""
  try:
    return literals.trace(function.__wrapped__, *_shapes(args))
  except Exception:  # whatever a model says of shapes; the variant is only a hint
    return None


def _jit_options(kind, program):
  states = jax.tree.map(lambda leaf: leaf.sharding, program.abstract_state)
  replicated, batch = program.rules.sharding(), program.batch_sharding
  if kind == 'init':
    return dict(out_shardings=states)
  if kind == 'evaluate':
    return dict(out_shardings=replicated)
  return dict(
    in_shardings=(replicated, states, batch),
    out_shardings=(states, replicated),
    donate_argnums=1,
    compiler_options=options_for(program.rules.mesh, program.config.model.remat),
  )


def _as_arrays(arg):
  return jnp.asarray(arg, jnp.int32) if isinstance(arg, int) else arg


def _shapes(args):
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), args
  )


def _signature(args):
  leaves, tree = jax.tree.flatten(args)
  return tree, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
