"""A long run in one process: memory, descriptors and threads must not grow."""

import gc
import os
import pathlib
import threading

import numpy as np

from gpt_jax.train import hooks, loop
from tests import tiny_runs
from tests.faults import runs

SAVES, EVALUATIONS, SAMPLES = 50, 20, 40
WARM_UP = 0.25  # of the run: programs are compiled, pools filled
MAX_GROWTH = 0.02  # of memory, from the warm-up to the end
MAX_EXTRA = 2.0  # descriptors, threads: a pool fills late, a leak adds one per save


def soak(steps, rng, folder):
  """Trains `steps` steps with 50 saves and 20 evaluations; returns the row.

  Growth is the slope of a line through the samples after the warm-up, times its length.
  """
  path = runs.write_text(folder)
  config = tiny_runs.tiny_config(
    tiny_runs.TEXT
    | {
      'data.path': str(path), 'train.steps': steps, 'eval.max_batches': 5,
      'eval.every_steps': max(1, steps // EVALUATIONS),
      'checkpoint.every_steps': max(1, steps // SAVES), 'checkpoint.keep_last': 3,
    }
  )  # fmt: skip
  samples, run_hooks = [], loop.default_hooks

  def sample(session, progress):
    session.store.wait()  # threads and files of a save under way are no leak
    samples.append(measure())

  def with_sampling(session, saver):
    return [*run_hooks(session, saver), hooks.Every(max(1, steps // SAMPLES), sample)]

  loop.default_hooks = with_sampling
  try:
    loop.train(config, folder / 'run', quiet=True)
  finally:
    loop.default_hooks = run_hooks
  return report(samples, steps)


def measure():
  """Returns (resident MiB, open descriptors, threads, objects) of this process."""
  gc.collect()
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  resident = pages * os.sysconf('SC_PAGE_SIZE') / (1 << 20)
  tasks = len(os.listdir('/proc/self/task'))
  assert tasks >= threading.active_count()
  return resident, len(os.listdir('/proc/self/fd')), tasks, len(gc.get_objects())


def report(samples, steps):
  """Returns the row: growth of each measurement after the warm-up."""
  kept = np.array(samples[int(len(samples) * WARM_UP) :], float)
  slopes = np.polyfit(np.arange(len(kept)), kept, 1)[0] * (len(kept) - 1)
  first, last = kept[0], kept[-1]
  growth, per_save = slopes[0] / first[0], slopes[3] / (SAVES * (1 - WARM_UP))
  is_flat = growth < MAX_GROWTH and (slopes[1:3] <= MAX_EXTRA).all()
  message = (
    f'after the first {WARM_UP:.0%}: memory {first[0]:.0f} -> {last[0]:.0f} MiB (line'
    f' through all samples {growth:+.1%}, limit {MAX_GROWTH:.0%}), descriptors'
    f' {first[1]:.0f} -> {last[1]:.0f}, threads {first[2]:.0f} -> {last[2]:.0f} (limit'
    f' {MAX_EXTRA:+.0f}), {per_save:.0f} objects of Python a save'
  )
  return runs.row(
    f'soak: {steps} steps, {SAVES} saves, {EVALUATIONS} evaluations',
    {'flat' if is_flat else 'GROWS': 1},
    is_flat,
    message,
  )
