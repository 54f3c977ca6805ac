"""The workers of a queued resource: code copied, run started, its output followed.

Each call of gcloud reaches all workers of all slices. Whether one did what it was told
is read from the line that its script prints (`tpu_script`), not from gcloud, which ends
with 0 also where a machine is gone.
"""

import dataclasses
import signal
import subprocess
import sys
import threading

from gpt_jax.core.errors import UserError
from gpt_jax.launchers import queued_resource, steps, tpu_script
from gpt_jax.launchers.processes import say

EVERYWHERE = ('--node=all', '--worker=all')
ALL_AT_ONCE = '--batch-size=all'
"""gcloud waits for a batch to end before it starts the next: a run with more workers
than its usual 64 would wait for the others forever."""
SHOWN_LINES = 20


@dataclasses.dataclass(frozen=True)
class Followed:
  """How a run was when its output ended, as far as its workers have said."""

  statuses: dict[str, str]  # of Workers.statuses; without hosts that were cut off
  was_asked: bool  # whether a signal to this process had it stop


@dataclasses.dataclass(frozen=True)
class Workers:
  """The machines of `request`, and the script that they have for a run."""

  request: queued_resource.Request
  name: str  # of the run
  commit: str  # of the code that it is to run
  connection: tuple[str, ...] = ()  # flags of ssh and scp

  @property
  def count(self):
    return self.request.slices.count * self.request.slices.hosts

  @property
  def script_name(self):
    return f'gpt-jax-{self.name}.sh'

  def copy(self, *paths):
    """Returns the call that copies files into the home folders of all workers."""
    words = ('scp', *paths, f'{self.request.name}:')
    flags = (*self.request.where(), *EVERYWHERE, ALL_AT_ONCE, *self.connection)
    return steps.Call((*queued_resource.GROUP, *words, *flags, '--quiet'))

  def tell(self, action, *words):
    """Returns the call that has all workers do one of tpu_script.ACTIONS."""
    command = ' '.join(['bash', self.script_name, action, *words])
    flags = (*EVERYWHERE, ALL_AT_ONCE, *self.connection)
    return self.request.call('ssh', f'--command={command}', *flags, '--quiet')

  def send(self, path):
    """Copies a file to all workers; raises Unreached where gcloud says it has not.

    It does not always say so: the worker's script has the digest of the code.
    """
    try:
      queued_resource.take(self.copy(path))
    except UserError as error:
      raise Unreached(str(error)) from error

  def require(self, action, *words):
    """Has all workers do `action`; raises Unreached where one did not report it."""
    reports, output = self._reports(self.tell(action, *words))
    if len(reports) < self.count:
      raise Unreached(self._unreached(action, reports, output))
    return reports

  def statuses(self, action='status'):
    """Returns {host: its state} of those that answer.

    A state is 'running COMMIT', 'absent' or 'exited CODE'.
    """
    return self._reports(self.tell(action))[0]

  def follow(self, again=False):
    """Passes the output of the run on until it ends; returns a Followed.

    SIGINT and SIGTERM have the run save and end; the second one ends this alone.
    """
    stopping = []

    def on_signal(*_):
      if stopping:
        raise KeyboardInterrupt
      say('the run is told to save and to end; once more: leave it running')
      stopping.append(threading.Thread(target=self.statuses, args=['stop']))
      stopping[0].start()

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
      call = self.tell('follow', *['again'] * again)
      statuses, _ = self._reports(call, show=print_line)
    finally:
      for number, handler in previous.items():
        signal.signal(number, handler)
    for thread in stopping:
      thread.join()
    return Followed(statuses, was_asked=bool(stopping))

  def _reports(self, call, show=None):
    """Returns ({host: what its script said}, all other lines)."""
    reports, output = {}, []
    process = subprocess.Popen(
      call.words,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors='replace',
      start_new_session=True,  # Ctrl-C is for the launcher alone
    )
    try:
      for line in process.stdout or ():
        if report := tpu_script.report_of(line):
          reports[report[0]] = report[1]
        elif show:
          show(line)
        else:
          output.append(line)
    finally:
      if process.poll() is None:
        process.terminate()
      process.wait()
    return reports, output

  def _unreached(self, action, reports, output):
    told = ''.join(output[-SHOWN_LINES:]).strip()
    there = f', those on {", ".join(sorted(reports))}' if reports else ''
    return (
      f'{action}: {len(reports)} of {self.count} workers did it{there}; gcloud said:\n'
      f'{told}'
    )


class Unreached(UserError):
  """Workers that did not do what they were told, or could not be told."""


def print_line(line):
  """Prints a line of a run's output at once."""
  sys.stdout.write(line)
  sys.stdout.flush()
