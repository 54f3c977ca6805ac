"""Worker processes: several points at once, each with a share of the cores."""

import collections
import json
import os
import selectors
import signal
import subprocess
import tempfile

from gpt_jax.execution import attempt, worker

CLOSE_SECONDS = 10.0
MAX_DEATHS = 2  # of the process that trains a point; then the point has failed


class Workers:
  """Trains points in worker processes: an executor of `runner.run`.

  A context manager, inside which SIGTERM and Ctrl-C make all workers save and end. A
  worker that dies is replaced, and its point tried once more.
  """

  def __init__(self, jobs, command, points, environment=None):
    """Takes how many, and `command(number)`: what starts the worker of a number.

    `points`: all of the study, as for `runner.InProcess`.
    """
    self._jobs, self._points = jobs, points
    self._configs = tempfile.NamedTemporaryFile(suffix='.json')
    self._command, self._environment = command, environment
    self._idle, self._busy = [], {}
    self._free = list(range(jobs))  # numbers of workers that do not run
    self._deaths = collections.Counter()
    self._selector = selectors.DefaultSelector()
    self._former, self._signal = {}, None
    self._programs = {}  # process id -> how many it has compiled

  @property
  def capacity(self):
    """Returns how many points may be at work at once."""
    return 0 if self.is_stopping else self._jobs

  @property
  def is_stopping(self):
    """Returns whether a signal has asked the sweep to end."""
    return self._signal is not None

  def __enter__(self):
    worker.write_configs(self._points, self._configs)
    for number in (signal.SIGINT, signal.SIGTERM):
      self._former[number] = signal.signal(number, self._stop)
    return self

  def __exit__(self, *exception):
    for one in [*self._idle, *self._busy.values()]:
      one.close()
    self._configs.close()
    for number, handler in self._former.items():
      signal.signal(number, handler)

  def accepts(self, point):
    """Returns whether `point` may be submitted now."""
    return True

  def submit(self, point):
    if not self._idle:
      number = self._free.pop(0)
      made = _Worker(number, self._command(number), self._environment)
      made.tell(json.dumps(self._configs.name) + '\n')
      self._selector.register(made.answers, selectors.EVENT_READ, made)
      self._idle.append(made)
    chosen = self._idle.pop()
    self._busy[point.name] = chosen
    chosen.give(point)

  def next(self, timeout):
    """Returns (point, Attempt) of one that has ended, or None after `timeout`.

    Points that a signal has interrupted are not returned.
    """
    for key, _ in self._selector.select(timeout):
      if (ended := self._read(key.data)) is not None:
        return ended
    return None

  @property
  def num_programs(self):
    """Returns how many programs all workers have compiled, together."""
    return sum(self._programs.values())

  @property
  def is_idle(self):
    """Returns whether no point is at work."""
    return not self._busy

  def _read(self, one):
    answer = one.read()
    if answer is None:
      return self._buried(one)
    if answer['outcome'] == worker.READY:
      return None
    if answer['outcome'] == worker.INTERRUPTED:
      return self._buried(one)  # by our signal, or by somebody else's
    self._programs[one.process.pid] = answer.get('programs', 0)
    point, one.point = one.point, None
    del self._busy[point.name]
    self._idle.append(one)
    return point, attempt.Attempt(answer['outcome'], answer['why'], answer['exit_code'])

  def _buried(self, one):
    """Returns what becomes of the point of a worker that has died."""
    self._forget(one)
    point = one.point
    if self._signal or point is None:
      return None
    self._deaths[point.name] += 1
    if self._deaths[point.name] < MAX_DEATHS:
      self.submit(point)
      return None
    return point, attempt.failed(point, one.obituary(), attempt.BUG)

  def _forget(self, one):
    self._selector.unregister(one.answers)
    if one in self._idle:
      self._idle.remove(one)
    if one.point is not None:
      self._busy.pop(one.point.name, None)
    one.close()
    self._free.append(one.number)

  def _stop(self, number, frame):
    is_second = self._signal is not None
    self._signal = signal.Signals(number).name
    for one in [*self._idle, *self._busy.values()]:
      one.process.send_signal(signal.SIGKILL if is_second else signal.SIGTERM)


class _Worker:
  """A worker process and the point that it has."""

  def __init__(self, number, command, environment):
    self.number, self.point = number, None
    self._errors = tempfile.TemporaryFile()
    self.process = subprocess.Popen(
      command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      bufsize=0,  # a line that waits in a buffer would not wake the selector
      env=environment,
      # Ctrl-C reaches the sweep alone, which passes it on once.
      start_new_session=True,
    )
    assert self.process.stdin and self.process.stdout
    self.tasks, self.answers = self.process.stdin, self.process.stdout

  def give(self, point):
    self.point = point
    self.tell(worker.as_task(point))

  def tell(self, line):
    try:
      self.tasks.write(line.encode())
      self.tasks.flush()
    except OSError:
      pass  # it has died, which its answers tell

  def read(self):
    """Returns its next answer, None where it has died."""
    line = self.answers.readline()
    return json.loads(line) if line.endswith(b'\n') else None

  def close(self):
    """Ends the process, which has saved or has nothing to save."""
    try:
      self.tasks.close()
    except OSError:
      pass
    try:
      self.process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
      self.process.kill()
      self.process.wait()
    self.answers.close()

  def obituary(self):
    """Returns of what it has died, in a line."""
    code = self.process.wait()
    if code < 0:
      name = signal.Signals(-code).name
      hint = ' (out of memory?)' if name == 'SIGKILL' else ''
      return f'its process was ended by {name}{hint}, {MAX_DEATHS} times'
    self._errors.seek(0)
    lines = self._errors.read().decode(errors='replace').strip().splitlines()
    return f'its process ended with code {code}: {lines[-1] if lines else ""}'


def shares_of_cores(jobs):
  """Returns the cores of each of `jobs` workers; () where each may have all of them."""
  # Several XLA thread pools on the same cores take turns instead of working.
  if not hasattr(os, 'sched_getaffinity'):
    return [()] * jobs  # macOS knows no affinity
  cores = sorted(os.sched_getaffinity(0))
  if len(cores) < jobs:
    return [()] * jobs
  return [tuple(cores[i::jobs]) for i in range(jobs)]
