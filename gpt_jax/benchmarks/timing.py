"""Interleaved timing: every round measures every case once; medians are over rounds.

A machine that others use, or that heats up, drifts; interleaved cases drift alike. So
two cases are compared round by round: the ratio is the median of the ratios of each
round, not the ratio of two medians taken at different times.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

MIN_SECONDS = 0.2
MAX_REPEATS = 1000
"""A short case is repeated in a round to take MIN_SECONDS, at most so many times."""


@dataclasses.dataclass(frozen=True)
class Case:
  name: str
  run: Callable[[int], Any]
  """`run(n)` does it n times and returns when the last one is done."""
  compile_seconds: float | None = None
  memory_gib: float | None = None
  tokens: float | None = None  # of one run, as are the two below
  flops: float | None = None
  bytes: float | None = None  # least memory traffic, where that is the bottleneck
  minus: str | None = None  # a case whose time in the same round is subtracted
  # Entered for each measurement, which does not time it: for what `run` needs and must
  # not be in memory beside other cases.
  around: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
  details: Any = None  # what a report adds for cases of this kind


@dataclasses.dataclass(frozen=True)
class Skipped:
  """A case that cannot be timed here, and why."""

  name: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Spread:
  median: float
  low: float
  high: float


def spread(values):
  """Returns the Spread of a sequence of numbers, interpolated linearly."""
  low, median, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
  return Spread(median=median, low=low, high=high)


def paired_ratio(ours, theirs):
  return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def in_pairs(cases, prefix):
  """Returns `cases` with each `PREFIX + name` of a peer right after case `name`."""
  peers = {case.name: case for case in cases if case.name.startswith(prefix)}
  ordered = []
  for case in cases:
    if not case.name.startswith(prefix):
      ordered.append(case)
      if prefix + case.name in peers:
        ordered.append(peers.pop(prefix + case.name))
  return ordered + list(peers.values())


def measure(
  cases, rounds, *, progress=iter, clock=time.perf_counter, min_seconds=MIN_SECONDS
):
  """Returns `({name: seconds of one run in each round}, [Skipped])`.

  Args:
    cases: Case and Skipped, mixed.
    progress: takes the list of measurements to come and yields from it.
  Odd rounds run the cases in reverse, so that none is always the first. A case that the
  device has no memory for is skipped, as is what subtracts it.
  """
  skipped = [case for case in cases if isinstance(case, Skipped)]
  repeats, ready = {}, []
  for case in cases:
    if isinstance(case, Skipped):
      continue
    try:
      repeats[case.name] = _repeats(case, clock, min_seconds)
      ready.append(case)
    except RuntimeError as error:
      skipped.append(Skipped(case.name, out_of_memory(error)))
  seconds = {case.name: [] for case in ready}
  schedule = [
    case for r in range(rounds) for case in (reversed(ready) if r % 2 else ready)
  ]
  for case in progress(schedule):
    with case.around():
      begin = clock()
      case.run(repeats[case.name])
      seconds[case.name].append((clock() - begin) / repeats[case.name])
  return _subtract(seconds, ready, skipped), skipped


def out_of_memory(error):
  """Returns `error`, a lack of memory, as one line; raises it if it is another."""
  text = str(error)
  if 'RESOURCE_EXHAUSTED' not in text and 'out of memory' not in text.lower():
    raise error
  return f'the device has no memory for it ({text.splitlines()[0][:120]})'


def repeat(call, times):
  """Runs `call() -> arrays` so many times and waits for the last."""
  # XLA:CPU deadlocks when many programs of several devices are in flight, so each is
  # waited for. Elsewhere they queue, and the host costs nothing.
  waits = jax.default_backend() == 'cpu'
  result = None
  for _ in range(times):
    result = call()
    if waits:
      jax.block_until_ready(result)
  jax.block_until_ready(result)


def compiled(lowered):
  """Returns `(executable, seconds to compile, GiB that it needs on a device)`."""
  begin = time.perf_counter()
  executable = lowered.compile()
  seconds = time.perf_counter() - begin
  return executable, seconds, sum(memory_gib(executable))


def memory_gib(executable):
  """Returns (GiB of its arguments, GiB of temporaries and results), on a device.

  Results in the place of donated arguments count once, with those.
  """
  memory = executable.memory_analysis()
  results = max(0, memory.output_size_in_bytes - memory.alias_size_in_bytes)
  beside = memory.temp_size_in_bytes + results
  return memory.argument_size_in_bytes / 2**30, beside / 2**30


def first_run_seconds(run):
  """Returns the time of the first `run(1)` less that of the second: compilation."""
  seconds = []
  for _ in range(2):
    begin = time.perf_counter()
    run(1)
    seconds.append(time.perf_counter() - begin)
  return max(0.0, seconds[0] - seconds[1])


def _repeats(case, clock, min_seconds):
  with case.around():
    case.run(1)  # warms up
    begin = clock()
    case.run(1)
    once = max(clock() - begin, 1e-9)
  return max(1, min(MAX_REPEATS, math.ceil(min_seconds / once)))


def _subtract(seconds, cases, skipped):
  """Returns `seconds` less those of each case's `minus`, round by round."""
  net = {}
  for case in cases:
    if case.minus is None:
      net[case.name] = seconds[case.name]
    elif case.minus in seconds:
      pairs = zip(seconds[case.name], seconds[case.minus], strict=True)
      net[case.name] = [max(a - b, 1e-9) for a, b in pairs]
    else:
      skipped.append(Skipped(case.name, f'{case.minus} was skipped'))
  return net
