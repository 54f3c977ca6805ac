"""Kills a process that saves without pause, and checks what is left on the disk.

`run_kills(count, seed)` returns a row; the tests call it with a few kills, the lane
with two hundred. They hit saves, digests, commits, prunes and the clean-up at the next
start.
"""

import collections
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from gpt_jax.checkpoints import manager
from gpt_jax.checkpoints.reader import CheckpointReader
from tests import tiny_runs
from tests.faults import runs, save_until_killed

FAULT = 'SIGKILL at a random moment of saving, committing, pruning, cleaning up'
FOLDER = 'run [1]*'  # that a glob would not find
MAX_DELAY_SECONDS = 0.6


def start(folder, *arguments):
  return subprocess.Popen(
    [sys.executable, '-m', save_until_killed.__name__, folder, *map(str, arguments)],
    stdout=subprocess.PIPE,
    text=True,
    cwd=tiny_runs.ROOT,
  )


def kill_once(folder, delay, keep_last):
  """Returns (step that a saver resumed from, latest one it reported as committed)."""
  program = start(folder, keep_last)
  first = int(program.stdout.readline())  # the loop has begun
  time.sleep(delay)
  program.send_signal(signal.SIGKILL)
  rest, _ = program.communicate()
  return first, max(map(int, rest.split()), default=first)


def expected(step):
  """Returns the numbers that an uninterrupted saver has at `step`."""
  factor = np.uint32(pow(save_until_killed.FACTOR, step, 1 << 32))
  return np.asarray(save_until_killed.first()) * factor


def problems(folder, committed):
  """Returns a line for each thing that is wrong in `folder` after a kill."""
  found = []
  with CheckpointReader(folder) as store:
    steps = store.steps()
    if max(steps, default=0) < committed:
      return [f'step {committed} was committed, found {steps}']
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    for step in steps:
      if store.integrity.find_damage(step) or store.integrity.predates_digests(step):
        found.append(f'step {step} is not valid')
        continue
      target = {'params': store.abstract(step, 'params', here)}
      values = np.asarray(store.restore(step, target)['params']['w'])
      is_right = values.tobytes() == expected(step).tobytes()
      if store.read_meta(step) != {'next_sample': step} or not is_right:
        found.append(f'step {step} holds something else')
  return found


def left_behind(folder):
  """Returns what a kill has interrupted, by the names in `folder`."""
  names = [path.name for path in folder.iterdir()]
  if any('orbax-checkpoint-tmp' in name for name in names):
    return 'a save under way'
  pruned = folder / manager.PRUNED
  return 'a prune under way' if pruned.exists() and any(pruned.iterdir()) else 'nothing'


def run_kills(count, seed):
  """Returns the row of `count` kills of one run that starts again each time.

  Keeps one step in every other start, two in the rest, so that prunes are hit as well.
  A last start ends by itself: only its latest steps may be left, with the bits that a
  saver without interruptions has.
  """
  rng = random.Random(seed)
  outcomes, lost, committed = collections.Counter(), [], 0
  with tempfile.TemporaryDirectory() as parent:
    folder = pathlib.Path(parent) / FOLDER
    for number in range(count):
      delay = rng.uniform(0.0, MAX_DELAY_SECONDS)
      latest = latest_of(folder)
      first, last = kill_once(folder, delay, 1 + number % 2)
      if first != latest:
        lost.append(f'kill {number}: resumed from {first}, there was {latest}')
      committed = max(committed, last)
      outcomes[f'left {left_behind(folder)}'] += 1
      lost += [f'kill {number}: {problem}' for problem in problems(folder, committed)]
    end = latest_of(folder) + 3
    with start(folder, 2, end) as program:
      program.communicate()
    lost += problems(folder, end)
    names = sorted(path.name for path in folder.iterdir())
    if program.returncode or names != sorted([str(end - 1), str(end)]):
      lost.append(f'at the end: exit code {program.returncode}, left {names}')
  good = f'{end} steps, none lost, the end bit-equal'
  return runs.row(FAULT, outcomes, not lost, '\n'.join(lost) or good)


def latest_of(folder):
  """Returns the latest step whose folder has its name, 0 without one."""
  names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
  return max((int(name) for name in names if name.isdecimal()), default=0)
