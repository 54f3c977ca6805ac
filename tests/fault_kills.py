"""Kills a process that saves without pause, and looks at what is left on the disk.

`run_kills(count, seed)` is one row of the fault table; the short tests call it with a
few kills, the long lane with two hundred. The kills meet saves, digests, commits,
prunes and the clean-up at the next start, as they come.
"""

import collections
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from gpt_jax import checkpoints

FAULT = 'SIGKILL at a random moment of saving, committing, pruning, cleaning up'
SAVER = pathlib.Path(__file__).parent / 'checkpoints_killed.py'
LONGEST_SECONDS = 0.6


def kill_once(folder, delay, keep_last):
  """Returns the newest step that a saver called committed before it was killed."""
  program = subprocess.Popen(
    [sys.executable, SAVER, folder, str(keep_last)],
    stdout=subprocess.PIPE,
    text=True,
    env=os.environ | {'PYTHONPATH': str(SAVER.parents[1])},
  )
  first = program.stdout.readline()  # the loop has begun
  time.sleep(delay)
  program.send_signal(signal.SIGKILL)
  rest, _ = program.communicate()
  return max(map(int, [first, *rest.split()]))


def problems(folder, committed):
  """Returns a line for each thing that is wrong in `folder` after a kill."""
  found = []
  with checkpoints.reader(folder) as store:
    steps = store.steps()
    if not steps or steps[-1] < committed:
      return [f'step {committed} was committed, found {steps}']
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    for step in steps:
      if store.soundness.problem(step) or store.soundness.is_unsealed(step):
        found.append(f'step {step} is not sound')
        continue
      target = {'params': store.abstract(step, 'params', here)}
      values = np.asarray(store.restore(step, target)['params']['w'])
      if store.read_meta(step) != {'next_sample': step} or (values != step).any():
        found.append(f'step {step} holds something else')
  return found


def left_behind(folder):
  """Returns what kind of unfinished business a kill left in `folder`."""
  names = [path.name for path in folder.iterdir()]
  if any('orbax-checkpoint-tmp' in name for name in names):
    return 'a save under way'
  pruned = folder / checkpoints.PRUNED
  return 'a prune under way' if pruned.exists() and any(pruned.iterdir()) else 'nothing'


def run_kills(count, seed):
  """Returns the row of `count` kills of one run that starts again each time.

  Keeps one step in every other start, two in the rest, so that prunes are met as well.
  """
  rng = random.Random(seed)
  outcomes, lost, committed = collections.Counter(), [], 0
  with tempfile.TemporaryDirectory() as parent:
    folder = pathlib.Path(parent) / 'run'
    for number in range(count):
      delay = rng.uniform(0.0, LONGEST_SECONDS)
      committed = max(committed, kill_once(folder, delay, 1 + number % 2))
      outcomes[f'left {left_behind(folder)}'] += 1
      lost += [f'kill {number}: {problem}' for problem in problems(folder, committed)]
  return dict(
    fault=FAULT,
    tries=count,
    outcomes=dict(sorted(outcomes.items())),
    nothing_lost=not lost,
    message='\n'.join(lost) or f'{committed} steps committed, none lost',
  )
