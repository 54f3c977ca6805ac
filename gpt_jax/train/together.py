"""Computes the steps of many runs together, as one program over them.

Each is a `loop.run` with its own data, checkpoints, metrics and workdir, and asks for
its next step; steps that are alike but for numbers are computed at once. Runs may be at
different steps, end or diverge: the others do not notice.
"""

import dataclasses
import functools
from collections.abc import Generator, Mapping
from typing import Any

import jax
import numpy as np

from gpt_jax.program import literals, stacked
from gpt_jax.program.build import Program
from gpt_jax.program.state import TrainState
from gpt_jax.train.session import Step


@dataclasses.dataclass(eq=False)
class _Member:
  """A run that trains together with others."""

  name: str
  run: Generator
  program: Program | None = None
  step: Step | None = None  # that it waits for
  family: str = ''  # of the runs that it may be stacked with
  stack: stacked.Stack | None = None
  index: int = 0  # in the stack


class Together:
  """Drives `{name: loop.run}` to their ends."""

  def __init__(self, runs: Mapping[str, Generator], devices=None):
    self._members = [_Member(name, run) for name, run in runs.items()]
    self._devices = devices
    self._ended, self._traced = [], {}

  def __iter__(self):
    """Yields (name, None or the error) of each run as it ends."""
    for member in self._members:
      self._resume(member, functools.partial(next, member.run))
      yield from self._pop_ended()
    self._stack()
    while any(member.step for member in self._members):
      for key, members in self._by_program().items():
        self._compute(key, members)
        yield from self._pop_ended()

  @property
  def programs(self):
    """Returns the names of the runs that share a program, for each."""
    found = {}
    for member in self._members:
      if member.family:
        found.setdefault(member.family, []).append(member.name)
    return list(found.values())

  def _pop_ended(self):
    ended, self._ended = self._ended, []
    return ended

  def _resume(self, member, go_on):
    """Runs a member up to its next step, or notes how it has ended."""
    member.step = None
    try:
      member.step = go_on()
      member.program = member.step.session.program
    except StopIteration:
      self._ended.append((member.name, None))
    except BaseException as error:  # of this one: the others have to run
      self._ended.append((member.name, error))

  def _stack(self):
    """Stacks the states of runs of one structure."""
    structures, families = {}, {}
    for member in self._members:
      if member.step:
        traced = self._trace(member, member.step.rows)
        structures.setdefault(traced.key, []).append((member, traced))
    for key, found in structures.items():
      # A number inside of a kernel, say, is no input: runs of others are apart.
      numbers = literals.groups([traced for _, traced in found])
      for (member, _), number in zip(found, numbers, strict=True):
        member.family = f'{key}/{number}'
        families.setdefault(member.family, []).append(member)
    for members in families.values():
      states = [member.step.progress.state for member in members]
      stack = stacked.Stack(states, self._devices)
      for i, member in enumerate(members):
        member.stack, member.index = stack, i
        member.step.progress.held = _Slice(stack, i)

  def _by_program(self):
    """Returns {key: members} of those that wait for a step of one program."""
    found = {}
    for member in self._members:
      if member.step:
        shapes = tuple((name, x.shape) for name, x in sorted(member.step.rows.items()))
        key = member.family, member.step.with_norms, shapes
        found.setdefault(key, []).append(member)
    return found

  def _compute(self, key, members):
    stack, step = members[0].stack, members[0].step
    for member in members:
      progress = member.step.progress
      if not isinstance(progress.held, _Slice):  # rolled back: read from a checkpoint
        stack.put(member.index, progress.state)
        progress.held = _Slice(stack, member.index)
    batches = {member.index: member.step.rows for member in members}
    trace_all = functools.partial(self._trace_all, stack, step)
    remat = members[0].program.config.model.remat
    try:
      metrics = _Fetched(stack.step(key, trace_all, batches, remat))
    except BaseException as error:
      for member in members:
        self._resume(member, functools.partial(member.run.throw, error))
      return
    for member in members:
      answer = _MetricsOf(metrics, member.index)
      self._resume(member, functools.partial(member.run.send, answer))

  def _trace_all(self, stack, step):
    members = [member for member in self._members if member.stack is stack]
    return [self._trace(member, step.rows, step.with_norms) for member in members]

  def _trace(self, member, rows, with_norms=False):
    """Returns the literals.Traced of a member's step for batches like `rows`."""
    program = member.program
    function = program.step_with_norms if with_norms else program.step
    # Runs that differ in their seeds share their Program (`shared.py`).
    key = id(function), *((name, rows[name].shape) for name in sorted(rows))
    if key not in self._traced:
      shapes = jax.tree.map(_shape, (program.abstract_state, rows))
      self._traced[key] = literals.trace(function.__wrapped__, *shapes)
    return self._traced[key]


def _shape(leaf):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


class _Slice:
  """The state of a run that is stacked; called, it is taken out."""

  def __init__(self, stack, index):
    self._stack, self._index = stack, index

  def __call__(self) -> TrainState:
    return self._stack.take(self._index)


class _Fetched:
  """Metrics of all runs, on the host as soon as one is asked for."""

  def __init__(self, metrics):
    self._metrics, self._values = metrics, None

  def values(self) -> dict[str, Any]:
    if self._values is None:
      self._values = jax.device_get(self._metrics)
      self._metrics = None
    return self._values


class _MetricsOf(Mapping):
  """Those of one run, as the metrics of its own step would be."""

  def __init__(self, fetched, index):
    self._fetched, self._index = fetched, index

  def __getitem__(self, name):
    return jax.tree.map(
      lambda x: np.asarray(x[self._index]), self._fetched.values()[name]
    )

  def __iter__(self):
    return iter(self._fetched.values())

  def __len__(self):
    return len(self._fetched.values())
