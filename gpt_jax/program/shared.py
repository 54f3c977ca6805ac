"""One compilation for programs that differ in numbers, such as points of a sweep.

The runs of a process hand their Programs to one SharedPrograms. Functions of a program
are traced at their first call; where one was compiled before that is the same but for
numbers in which the announced configs differ (`variants.py`), it is used again, with
those as inputs (`literals.py`). Seeds differ in nothing, and so their runs are the same
bit for bit.
"""

import contextlib
import dataclasses
import functools
import gc
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gpt_jax.config.schema import Config
from gpt_jax.core import malloc, process_memory
from gpt_jax.core.errors import UserError
from gpt_jax.parallel import free_memory
from gpt_jax.parallel.compiler_options import of_step
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import device_memory, distillation, literals, setup, variants
from gpt_jax.program.horizon import START, Past

KINDS = ('init', 'step', 'step_with_norms', 'evaluate')


@dataclasses.dataclass(frozen=True, eq=False)
class _Making:
  """What makes a Program of a config."""

  tokenizer: Any
  mesh: jax.sharding.Mesh
  embedding_rows: int | None
  past: Past
  references: Mapping[str, Config]  # those of a run do for all that are like it

  @functools.cached_property
  def key(self):
    places = self.tokenizer.fingerprint, self.mesh
    return *places, self.embedding_rows, self.past, repr(self.references)

  def program(self, config):
    return setup.make_program(
      config,
      self.tokenizer,
      self.mesh,
      self.embedding_rows,
      self.past,
      self.references,
    )


def _is_scarce():
  resident, free = process_memory.resident_bytes(), free_memory.host_bytes()
  return resident is not None and free is not None and resident > free


class SharedPrograms:
  """The functions that the programs of a process have compiled."""

  def __init__(self, configs=(), devices=None):
    """Takes the configs of the study, whose differences are lifted, and devices.

    All of them, whichever run here: the same ones give the same bits in any process.
    """
    self._configs, self._devices = tuple(configs), devices
    self._forget()
    self.hits = self.compiled = self._num_forgotten = 0

  def _forget(self):
    self._programs, self._made, self._families, self._paths = {}, {}, {}, {}

  def release_if_scarce(self):
    """Forgets all programs once this process holds more memory than it can still take.

    To be called between two runs. Returns whether it did; what is asked for again comes
    from the compilation cache. Programs of 20 M parameters take 0.3 GiB a run.
    """
    if not _is_scarce():
      return False
    malloc.give_back()  # what a run has freed is still with the process
    if not _is_scarce():
      return False
    self._num_forgotten = self.num_programs
    self._forget()
    jax.clear_caches()
    gc.collect()  # programs and their functions know each other
    malloc.give_back()
    return True

  @property
  def num_programs(self):
    """Returns how many training steps were compiled."""
    return self._num_forgotten + sum(
      len(families) for (kind, *_), families in self._families.items() if kind == 'step'
    )

  def open_program(self, config, tokenizer, mesh=None, embedding_rows=None, past=START):
    """Returns `setup.open_program` with functions that compile at most once for all."""
    if mesh is None:
      mesh = make_mesh(config.parallel.mesh, self._devices)
    references = setup.read_reference_configs(config)
    making = _Making(tokenizer, mesh, embedding_rows, past, references)
    key = _program_key(config), making.key
    if key not in self._programs:
      made = self._make(config, making)
      device_memory.check_fits(made.program.abstract_state)
      functions = {kind: _Shared(self, kind, made, making) for kind in KINDS}
      self._programs[key] = dataclasses.replace(made.program, **functions)
    program = self._programs[key]
    resolved = dataclasses.replace(config, model=program.config.model)
    return dataclasses.replace(program, config=resolved)

  def _make(self, config, making):
    """Returns the _Made of `config`, which others may have asked for before."""
    key = _program_key(config), making.key
    if key not in self._made:
      self._made[key] = _Made(making.program(config))
    return self._made[key]

  @functools.cached_property
  def _groups(self):
    return variants.by_shape(self._configs)

  def find(self, kind, made, making, args):
    """Returns (jitted function, numbers or None) of `kind` for such `args`."""
    member, shape = made.trace(kind, args), variants.shape_of(made.program.config)
    key = kind, _signature(args), member.key
    place = *key, shape, making.key
    if place not in self._paths:
      trace = functools.partial(self._trace, kind, made, making, args)
      group = self._groups.get(shape, {})
      self._paths[place] = variants.paths(group, member.structure, trace)
    paths = self._paths[place]
    families = self._families.setdefault((*key, paths), [])
    for family in families:
      if family.covers(member):
        self.hits += 1
        break
    else:
      function = getattr(made.program, kind)
      family = _Family(function, member, paths, _jit_options(kind, made.program))
      families.append(family)
      self.compiled += 1
    return family.jitted, family.numbers(member)

  def _trace(self, kind, made, making, args, config):
    """Returns the Traced of another config, None where it takes no such `args`."""
    wanted = _signature(made.program.abstract_state)
    if distillation.references(config).keys() != making.references.keys():
      return None  # it reads other models
    try:
      other = self._make(config, making)
    except UserError:  # no program; its point says why
      return None
    if _signature(other.program.abstract_state) != wanted:
      return None
    try:
      return other.trace(kind, args)
    except Exception:  # whatever a model says of shapes; the config is only a hint
      return None


class _Made:
  """A Program, and its functions as they were traced."""

  def __init__(self, program):
    self.program, self._traced = program, {}

  def trace(self, kind, args):
    key = kind, _signature(args)
    if key not in self._traced:
      function = getattr(self.program, kind).__wrapped__
      self._traced[key] = literals.trace(function, *_shapes(args))
    return self._traced[key]


class _Family:
  """Functions of one structure, and the compiled one that does for all of them."""

  def __init__(self, function, member, paths, jit_options):
    self._member, self._lifted, self.jitted = member, None, function
    if paths:
      with contextlib.suppress(literals.NotLiftable):
        self._lifted = literals.lift([member], paths)
        self.jitted = jax.jit(self._lifted, **jit_options)

  def covers(self, member):
    """Returns whether `member` differs in nothing but inputs."""
    paths = self._lifted.paths if self._lifted else ()
    return set(literals.differing([self._member, member])) <= set(paths)

  def numbers(self, member):
    return None if self._lifted is None else self._lifted.numbers(member)


class _Shared:
  """A function of a Program, compiled or found at its first call; as a jitted one."""

  def __init__(self, shared, kind, made, making):
    self.__wrapped__ = getattr(made.program, kind).__wrapped__
    self._find = functools.partial(shared.find, kind, made, making)
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


def _program_key(config):
  """Returns `config` as a text, without what its program does not read."""
  data = dataclasses.replace(config.data, seed=0)
  return repr(dataclasses.replace(config, seed=0, data=data))


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
    compiler_options=of_step(program.rules.mesh, program.config),
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
