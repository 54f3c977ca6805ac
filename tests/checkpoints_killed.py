"""Saves as fast as it can until it is killed, and prints each committed step.

Resumes after the newest step, as a run does. Started by fault_kills.py.
"""

import os
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'

import jax.numpy as jnp  # noqa: E402  (the environment above has to come first)

from gpt_jax.checkpoints import Checkpoints  # noqa: E402

folder, keep_last = sys.argv[1], int(sys.argv[2])
saved = Checkpoints(
  folder, keep_last=keep_last, keep_best=0, best_metric='', asynchronous=True
)
step = saved.latest_step() or 0
while True:
  step += 1
  saved.save(
    step, {'params': {'w': jnp.full(1 << 16, step, 'f4')}}, {'next_sample': step}
  )
  if saved.latest_step():
    print(saved.latest_step(), flush=True)
