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

ROOT = pathlib.Path(__file__).parents[2]
TRAIN = [sys.executable, '-m', 'gpt_jax']
STEPS, SAVE_EVERY = 400, 5
ENDS_AT = [float('inf')]  # of time.monotonic(): lanes of processes try no more then
SHOWN = 300  # characters of a message of a row that is as it should be


def row(fault, outcomes, is_good, message=''):
  """Returns a row of the matrix; `outcomes` counts what each try came to."""
  return dict(
    fault=fault,
    tries=sum(outcomes.values()),
    outcomes=dict(outcomes),
    nothing_lost=bool(is_good),
    message=message.strip()[: SHOWN if is_good else 20 * SHOWN],
  )


def is_late():
  """Returns whether the time for all tries is over."""
  return time.monotonic() > ENDS_AT[0]


def text_in(folder):
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
  """Runs a command line to its end; fails when it does not end well."""
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
  return done


class Started:
  """A command line that runs; all that it says goes to a file."""

  def __init__(self, command, log, environment=None):
    self.log = pathlib.Path(log)
    with open(self.log, 'w') as file:
      self.process = subprocess.Popen(
        command, stdout=file, stderr=subprocess.STDOUT, env=environment
      )

  @property
  def pid(self):
    return self.process.pid

  def is_on(self):
    return self.process.poll() is None

  def wait_until(self, is_so, seconds=180, every=0.002):
    """Returns whether `is_so()` came true before the end; stops waiting in time."""
    deadline = time.monotonic() + seconds
    while self.is_on() and time.monotonic() < deadline:
      if is_so():
        return True
      time.sleep(every)
    return False

  def end(self, number=None, seconds=240):
    """Returns the exit code after a signal (or without one)."""
    if number is not None and self.is_on():
      self.process.send_signal(number)
    return self.process.wait(seconds)

  def said(self):
    return self.log.read_text(errors='replace')


@dataclasses.dataclass(frozen=True)
class Left:
  """What a run has left: its newest saved step, its last step with figures."""

  saved: int
  step: int

  @classmethod
  def in_(cls, run):
    reached = supervise.Reached.of(run)
    return cls(reached.saved or 0, reached.step or 0)


def damaged_steps(run):
  """Returns a line for each step of a run that is not as it was saved."""
  folder = Workdir(run).checkpoints
  if not folder.is_dir():
    return []
  with CheckpointReader(folder) as store:
    return [
      text for step in store.steps() if (text := store.integrity.find_damage(step))
    ]


def same_end(one, other):
  """Returns whether two runs ended in the same bits, and made the same losses."""
  try:
    tiny_runs.assert_same(tiny_runs.saved_arrays(one), tiny_runs.saved_arrays(other))
  except AssertionError:
    return False
  return tiny_runs.losses(one) == tiny_runs.losses(other)


def same_so_far(run, whole):
  """Returns whether a run's losses are those of a longer one, without a gap."""
  losses = tiny_runs.losses(run) if Workdir(run).metrics.exists() else {}
  expected = tiny_runs.losses(whole)
  return losses == {step: expected.get(step) for step in range(1, len(losses) + 1)}


@contextlib.contextmanager
def within(seconds):
  """Raises TimeoutError in the block, where Python runs, when it takes longer."""

  def late(number, frame):
    raise TimeoutError(f'still at it after {seconds} s')

  former = signal.signal(signal.SIGALRM, late)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
