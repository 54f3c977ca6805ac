"""Saves as fast as it can until it is killed, and prints each committed step.

Resumes from the latest valid step, as a run does: the numbers of a step follow from
those of the one before. Ends by itself at the step of its third argument, if there is
one. Started by kills.py.
"""

import os
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'

import jax  # noqa: E402  (the environment above has to come first)
import jax.numpy as jnp  # noqa: E402

from gpt_jax.checkpoints.manager import Checkpoints  # noqa: E402

SIZE = 1 << 16
FACTOR = 1664525  # odd, so invertible modulo 2^32: no two steps are equal


def first():
  """Returns the numbers of step 0: odd and distinct."""
  return jnp.arange(SIZE, dtype='uint32') * 2 + 1


def main(folder, keep_last, last=None):
  saved = Checkpoints(
    folder, keep_last=int(keep_last), keep_best=0, best_metric='', asynchronous=True
  )
  step = saved.latest_valid_step() or 0
  w = first()
  if step:
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = {'params': {'w': jax.ShapeDtypeStruct(w.shape, w.dtype, sharding=here)}}
    w = saved.restore(step, target)['params']['w']
  print(step, flush=True)
  while last is None or step < int(last):
    step, w = step + 1, w * jnp.uint32(FACTOR)
    saved.save(step, {'params': {'w': w}}, {'next_sample': step})
    if saved.latest_step():
      print(saved.latest_step(), flush=True)
  saved.close()


if __name__ == '__main__':
  main(*sys.argv[1:])
