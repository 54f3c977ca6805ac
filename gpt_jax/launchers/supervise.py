"""Restarts a run that crashes, hangs or is preempted, by what its workdir shows."""

import dataclasses
import json
import time

from gpt_jax.core.errors import StorageError
from gpt_jax.launchers.processes import HUNG, PREEMPTED
from gpt_jax.storage import growing, objects
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote

FINAL = {0, 2, 3, 4, 5, 6, 130}
"""Done, the classes of core/errors.py, Ctrl-C: another start would end the same."""
TAIL_BYTES = 1 << 16
REMOTE_SECONDS = 20.0  # between two looks at a workdir in a bucket


@dataclasses.dataclass(frozen=True)
class Policy:
  """How often, how fast and how long to start again."""

  max_restarts: int = 10
  restart_seconds: float = 5.0
  hang_seconds: float = 1800.0  # 0: never
  same_step_crashes: int = 3


@dataclasses.dataclass(frozen=True)
class Reached:
  """The last saved step of a run, and that of its last line of metrics."""

  saved: int | None
  step: int | None

  @classmethod
  def of(cls, workdir):
    workdir = place(workdir)
    folder = workdir / 'checkpoints'
    saved = [int(name) for name in objects.names_in(folder) if name.isdigit()]
    saved = [step for step in saved if objects.is_whole(folder / str(step))]
    return cls(max(saved, default=None), _last_step(workdir / 'metrics.jsonl'))

  def __str__(self):
    return f'last metrics of step {self.step}, last save of step {self.saved}'


class Watch:
  """Tells whether nothing has changed in a run's workdir for `seconds`."""

  def __init__(self, workdir, seconds, clock=time.monotonic):
    self._workdir, self._seconds, self._clock = place(workdir), seconds, clock
    # Listing a bucket takes requests, each of which costs.
    self._wait = REMOTE_SECONDS if is_remote(workdir) else 0.0
    self._seen, self._since, self._read = self._stamps(), clock(), clock()

  def is_hung(self):
    if self._clock() - self._read < self._wait:
      return False
    self._read = self._clock()
    try:
      stamps = self._stamps()
    except StorageError:  # a bucket that does not answer says nothing of the run
      return False
    if stamps != self._seen:
      self._seen, self._since = stamps, self._clock()
    return bool(self._seconds) and self._clock() - self._since > self._seconds

  def _stamps(self):
    """Returns size and time of what training, evaluation and tokenizing write."""
    if is_remote(self._workdir):
      return {str(path): size for path, size in objects.files_below(self._workdir)}
    places = [
      self._workdir / name for name in ('metrics.jsonl', 'eval.json', 'run.json')
    ]
    for folder in ('checkpoints', 'cache'):
      places += [self._workdir / folder, *(self._workdir / folder).glob('*')]
      places += (self._workdir / folder).glob('*/tokens.bin')
    return {str(place): _stamp(place) for place in places}


def supervise(attempt, workdir, policy, say, sleep=time.sleep):
  """Returns the exit code of the run, started again as often as `policy` allows.

  `attempt(is_hung)` is `processes.run` of the run, `say` prints a message. It ends with
  a code of FINAL, after a signal to the launcher, and when `policy` is used up.
  """
  restarts, crashes = 0, []
  before = Reached.of(workdir)
  while True:
    code, was_stopped = attempt(Watch(workdir, policy.hang_seconds).is_hung)
    if was_stopped or code in FINAL:
      return code
    reached = Reached.of(workdir)
    why = _why(code, policy)
    if code != PREEMPTED:
      crashes = [*crashes, reached] if reached.saved == before.saved else [reached]
      if len(crashes) >= policy.same_step_crashes:
        say(_loop_message(crashes, why))
        return code
    before = reached
    if restarts == policy.max_restarts:
      say(
        f'{why}, {reached}. Not started again: --max_restarts={restarts} are used up.'
      )
      return code
    restarts += 1
    say(
      f'{why}, {reached}. Restart {restarts} of at most {policy.max_restarts} in'
      f' {policy.restart_seconds:g} s.'
    )
    sleep(policy.restart_seconds)


def _why(code, policy):
  known = {
    HUNG: f'hung: nothing new in the workdir for {policy.hang_seconds:g} s',
    PREEMPTED: 'preempted with nothing lost (exit code 75)',
  }
  killed = f'killed by signal {code - 128}' if code > 128 else f'exit code {code}'
  return known.get(code, f'crashed ({killed})')


def _loop_message(crashes, why):
  steps = {crash.step for crash in crashes}
  where = (
    f'each time after step {steps.pop()}'
    if len(steps) == 1
    else 'after steps ' + ', '.join(str(crash.step) for crash in crashes)
  )
  return (
    f'{why}. Crash loop: {len(crashes)} crashes without a new save, {where}; the last'
    f' save is of step {crashes[-1].saved}. Not started again, since it would crash'
    ' there once more: read the output above and WORKDIR/logs. If the machine was at'
    ' fault, start again by hand, or save more often (checkpoint.every_steps).'
  )


def _last_step(path):
  """Returns `step` of the last complete line of metrics.jsonl, reading only its end."""
  try:
    if is_remote(path):
      lines = growing.read_tail(path).decode(errors='replace').splitlines()
    else:
      with open(path, 'rb') as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        lines = file.read().decode(errors='replace').splitlines()
  except OSError:
    return None
  for line in reversed(lines):
    try:
      return int(json.loads(line)['step'])
    except (ValueError, KeyError, TypeError):
      continue
  return None


def _stamp(path):
  try:
    status = path.stat()
  except OSError:
    return None
  return status.st_size, status.st_mtime_ns
