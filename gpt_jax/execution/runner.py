"""Runs the points of a sweep that are missing; several such processes share them.

There is no list of what is to be done but the workdirs. Whoever holds the lock of one
trains it; the others take the next point, and come back in the end.
"""

import dataclasses
import time

from gpt_jax.core.errors import Interrupted
from gpt_jax.execution import attempt
from gpt_jax.program.shared import SharedPrograms
from gpt_jax.sweeps import states

POLL_SECONDS = 1.0


class InProcess:
  """Trains points in this process, one after the other; they share what is compiled.

  `points`: those of the study, in whose numbers the shared programs may differ.
  """

  capacity = 1

  def __init__(self, points=()):
    self._point = None
    # A signal raises Interrupted in the training, unless that is at its end.
    self.is_stopping = False
    self.shared = SharedPrograms(point.config for point in points)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    pass

  def accepts(self, point):
    """Returns whether `point` may be submitted now."""
    return not self.is_stopping

  def submit(self, point):
    self._point = point

  def next(self, timeout):
    """Returns (point, Attempt) of one that has ended, or None after `timeout`."""
    point, self._point = self._point, None
    outcome = attempt.attempt(point, self.shared.open_program)
    self.is_stopping = outcome.was_signalled
    self.shared.release_if_scarce()
    return point, outcome

  @property
  def is_idle(self):
    return self._point is None

  @property
  def num_programs(self):
    """Returns how many programs were compiled for the points."""
    return self.shared.num_programs


@dataclasses.dataclass
class Progress:
  """What a sweep process knows of its points, by name."""

  points: tuple
  done: set
  failed: dict  # name -> Attempt
  running: dict  # name -> Point, here
  elsewhere: dict  # name -> by whom
  num_done_before: int = 0
  num_done_here: int = 0
  # name -> record of a failure before this sweep, whose point is tried again
  failed_before: dict = dataclasses.field(default_factory=dict)

  @property
  def num_left(self):
    return len(self.points) - len(self.done) - len(self.failed)

  def blocked(self):
    """Returns {name: needed point that failed}."""
    found = {}
    for point in self.points:
      needs = [n for n in point.needs if n in self.failed or n in found]
      if needs and point.name not in self.done:
        found[point.name] = needs[0]
    return found

  @property
  def exit_code(self):
    """Returns 0, or the exit code of the first point that failed."""
    return next((one.exit_code for one in self.failed.values()), 0)


def begin(points):
  """Returns the Progress of `points`, none of which has changed."""
  ended = states.of_each(states.is_done, points)
  done = {point.name for point in points if ended[point]}
  failed = {
    p.name: why for p, why in states.of_each(states.read_failure, points).items()
  }
  return Progress(
    tuple(points), done, {}, {}, {}, num_done_before=len(done), failed_before=failed
  )


def run(progress, executor, show, *, sleep=time.sleep):
  """Runs what is missing; returns once all points are done, failed or blocked.

  Raises Interrupted after SIGTERM or Ctrl-C, once the present points are saved.

  Args:
    executor: InProcess, `jobs.Workers` or `vectorized.Vectorized`.
    show: a `live.Display`.
  """
  pending = {
    point.name: point for point in progress.points if point.name not in progress.done
  }
  while True:
    while len(progress.running) < executor.capacity:
      point = _pick(pending, progress, executor)
      if point is None:
        break
      progress.running[point.name] = point
      show.started(point)
      executor.submit(point)
    if pending and executor.is_stopping and executor.is_idle:
      raise interrupted(progress)
    if progress.running:
      ended = executor.next(timeout=POLL_SECONDS)
      if ended is not None:
        point, outcome = ended
        _record(point, outcome, pending, progress, show)
    elif any(name in progress.elsewhere for name in pending):
      show.waiting()
      sleep(POLL_SECONDS)
    else:
      return


def _pick(pending, progress, executor):
  """Returns the next point to run here, or None; notes what others have done."""
  for name, point in list(pending.items()):
    if name in progress.running or not progress.done.issuperset(point.needs):
      continue
    if not executor.accepts(point):
      continue
    if states.is_done(point):
      _note_end(pending, progress, name, attempt.Attempt(states.DONE))
      continue
    failure = states.read_failure(point)
    # Not by times: clocks of machines that share a disk may differ.
    if failure and failure != progress.failed_before.get(name):
      code = failure.get('exit_code', attempt.BUG)
      outcome = attempt.Attempt(states.FAILED, failure.get('why', ''), code)
      _note_end(pending, progress, name, outcome)
      continue
    owner = states.living_owner(point.workdir)
    if owner is None:
      progress.elsewhere.pop(name, None)
      return point
    progress.elsewhere[name] = str(owner)
  return None


def _note_end(pending, progress, name, outcome):
  del pending[name]
  progress.elsewhere.pop(name, None)
  if outcome.kind == states.DONE:
    progress.done.add(name)
  else:
    progress.failed[name] = outcome


def _record(point, outcome, pending, progress, show):
  del progress.running[point.name]
  if outcome.kind == states.RUNNING:
    progress.elsewhere[point.name] = outcome.why
  else:
    progress.num_done_here += outcome.kind == states.DONE
    _note_end(pending, progress, point.name, outcome)
  show.ended(point, outcome)


def interrupted(progress):
  """Returns the Interrupted that ends a sweep which was asked to stop."""
  return Interrupted(
    f'stopped: {len(progress.done)} of {len(progress.points)} points are done, those at'
    ' work are saved; the same command continues there.'
  )
