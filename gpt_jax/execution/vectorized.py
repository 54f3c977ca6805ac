"""Points that differ in some numbers alone train together: an executor of `runner.run`.

Points of one group agree in all but `fields` and are one program, as far as their
numbers allow (`train/together.py`); each keeps its own workdir. Any of them may be
finished by a start without this, and the other way round.
"""

import collections
import contextlib

import jax

from gpt_jax.core.errors import Interrupted
from gpt_jax.execution import attempt
from gpt_jax.program.shared import SharedPrograms
from gpt_jax.tracking import console
from gpt_jax.train import loop, preemption, together
from gpt_jax.workdir.paths import Workdir


class Vectorized:
  """Trains the points of a group at once, group after group, in this process."""

  def __init__(self, points, fields):
    # A signal raises Interrupted in the training, unless all are at their end.
    self.is_stopping = False
    self._group_of = groups_of(points, fields)
    self.capacity = max(
      collections.Counter(self._group_of.values()).values(), default=1
    )
    self.programs = []  # names of the points that were one program, for each
    # Runs are spread over the devices; what each computes by itself is on the first.
    self._shared = SharedPrograms(
      [point.config for point in points], jax.local_devices()[:1]
    )
    self._submitted, self._training, self._num_left = [], None, 0

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    if self._training is not None:
      self._training.close()

  @property
  def is_idle(self):
    return not self._submitted and self._training is None

  @property
  def num_programs(self):
    """Returns how many programs were compiled for the points."""
    return len(self.programs)

  def accepts(self, point):
    """Returns whether `point` may train with those that were submitted."""
    group = self._group_of[point.name]
    return (
      not self.is_stopping
      and self._training is None
      and all(self._group_of[other.name] == group for other in self._submitted)
    )

  def submit(self, point):
    self._submitted.append(point)

  def next(self, timeout):
    """Returns (point, Attempt) of one that has ended; trains until there is one."""
    if self._training is None:
      points, self._submitted = self._submitted, []
      self._training, self._num_left = self._train(points), len(points)
    ended = next(self._training, None)
    self._num_left -= 1
    if not self._num_left:
      next(self._training, None)  # closes what the group had open
      self._training = None
      self._shared.release_if_scarce()
    return ended

  def _train(self, points):
    """Yields (point, Attempt) of each as it ends; raises Interrupted in the end."""
    by_name = {point.name: point for point in points}
    stopped, runs = None, {}
    with contextlib.ExitStack() as stack:
      signals = stack.enter_context(preemption.Watch())
      for point in points:
        if outcome := attempt.outcome_if_taken(point):
          yield point, outcome
        else:
          runs[point.name] = self._run(point, signals, stack)
      if not runs:
        return
      # What libraries print is of no run; it goes where somebody may look.
      first = by_name[next(iter(runs))]
      stack.enter_context(attempt.output_to(Workdir(first.workdir).logs / attempt.LOG))
      driver = together.Together(runs)
      for name, error in driver:
        if isinstance(error, Interrupted | KeyboardInterrupt):
          stopped = error
        else:
          yield by_name[name], attempt.outcome_of(by_name[name], error)
      self.programs += driver.programs
    self.is_stopping = signals.signal is not None
    if stopped:
      raise stopped

  def _run(self, point, signals, stack):
    log = Workdir(point.workdir).logs / attempt.LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context(open(log, 'a', encoding='utf-8', buffering=1))
    return loop.run(
      point.config,
      point.workdir,
      signals,
      console=console.make_console(file=file),
      open_program=self._shared.open_program,
    )


def groups_of(points, fields):
  """Returns {name: what the points that train together have in common}.

  `points`: all of the study. Runs that start from points of one group do so together.
  """
  found, workdirs = {}, {point.name: repr(str(point.workdir)) for point in points}
  for point in points:  # those that are needed come first
    rest = {
      field: value for field, value in point.overrides.items() if field not in fields
    }
    text = repr(sorted(rest.items()))
    for name in point.needs:
      text = text.replace(workdirs[name], f'<{found[name]}>')
    found[point.name] = text
  return found


def described_groups(study, points, fields):
  """Yields lines on which of the `points` train together."""
  key_of, names = groups_of(study.points, fields), collections.defaultdict(list)
  for point in points:
    names[key_of[point.name]].append(point.name)
  yield f'--vectorize={",".join(fields)}: {len(names)} groups train one after another'
  for group in names.values():
    yield f'  {len(group):4} together, {group[0]}' + (
      f' to {group[-1]}' if len(group) > 1 else ''
    )
