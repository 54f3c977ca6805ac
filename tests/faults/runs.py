"""What the fault lanes share: command lines to hit, what they leave, and rows."""

import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import sys
import time

from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.launchers import supervise
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

GPT_JAX = [sys.executable, '-m', 'gpt_jax']
STEPS, SAVE_EVERY = 400, 5
DEADLINE = [float('inf')]  # of time.monotonic(): after it lanes of processes end
MAX_MESSAGE = 300  # characters, of a row without a loss


def row(fault, outcomes, is_good, message=''):
  """Returns a row of the table; `outcomes` counts what each try came to."""
  return dict(
    fault=fault,
    tries=sum(outcomes.values()),
    outcomes=dict(outcomes),
    nothing_lost=bool(is_good),
    message=message.strip()[: MAX_MESSAGE if is_good else 20 * MAX_MESSAGE],
  )


def is_over():
  """Returns whether the time for all tries is over."""
  return time.monotonic() > DEADLINE[0]


def write_text(folder):
  """Writes the text that the runs train on; returns its path."""
  path = folder / 'words.txt'
  path.write_text(tiny_runs.words(40_000))
  return path


def train_command(workdir, text, **fields):
  """Returns the arguments of a run that saves every SAVE_EVERY steps."""
  overrides = tiny_runs.TEXT | {
    'data.path': str(text), 'train.steps': STEPS, 'checkpoint.every_steps': SAVE_EVERY,
    'checkpoint.keep_last': 2, 'eval.sets': {}, 'eval.every_steps': 0,
  }  # fmt: skip
  return ['train', *tiny_runs.flags(overrides | fields), f'--workdir={workdir}']


def finish(command):
  """Runs a command line to its end; fails when its exit code is not 0."""
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
  return done


class Command:
  """A running command line whose output goes to a file."""

  def __init__(self, command, log, environment=None):
    self._log = pathlib.Path(log)
    with open(self._log, 'w') as file:
      self._process = subprocess.Popen(
        command, stdout=file, stderr=subprocess.STDOUT, env=environment
      )
    self.pid = self._process.pid

  def is_running(self):
    return self._process.poll() is None

  def wait_until(self, condition, seconds=180, every=0.002):
    """Returns whether `condition()` came true before the end and within `seconds`."""
    deadline = time.monotonic() + seconds
    while self.is_running() and time.monotonic() < deadline:
      if condition():
        return True
      time.sleep(every)
    return False

  def signal(self, number):
    """Sends a signal, and does not wait."""
    self._process.send_signal(number)

  def end(self, number=None, seconds=240):
    """Returns the exit code after signal `number`, or without one."""
    if number is not None and self.is_running():
      self._process.send_signal(number)
    return self._process.wait(seconds)

  def output(self):
    return self._log.read_text(errors='replace')


@dataclasses.dataclass(frozen=True)
class Progress:
  """The latest saved step of a run, and its last step with metrics; 0 without."""

  saved: int
  step: int

  @classmethod
  def of(cls, run):
    reached = supervise.Reached.of(run)
    return cls(reached.saved or 0, reached.step or 0)


def damaged_steps(run):
  """Returns a line for each step of a run that is not as it was saved."""
  folder = Workdir(run).checkpoints
  if not folder.is_dir():
    return []
  with CheckpointReader(folder) as store:
    found = [store.integrity.find_damage(step) for step in store.steps()]
  return [text for text in found if text]


def is_same_end(one, other):
  """Returns whether two runs ended with the same bits and losses."""
  try:
    tiny_runs.assert_same(tiny_runs.saved_arrays(one), tiny_runs.saved_arrays(other))
  except AssertionError:
    return False
  return tiny_runs.losses(one) == tiny_runs.losses(other)


def is_same_so_far(run, reference):
  """Returns whether a run's losses are those of a longer one, without a gap."""
  losses = tiny_runs.losses(run) if Workdir(run).metrics.exists() else {}
  expected = tiny_runs.losses(reference)
  return losses == {step: expected.get(step) for step in range(1, len(losses) + 1)}


@contextlib.contextmanager
def time_limit(seconds):
  """Raises TimeoutError in the block, where Python runs, when it takes longer."""

  def expire(number, frame):
    raise TimeoutError(f'took more than {seconds} s')

  former = signal.signal(signal.SIGALRM, expire)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
