"""The mean of the parameters of several steps of a run, as a run of its own.

Izmailov et al., arXiv:1803.05407, eq. 2: weights along one training lie around a point
that often generalizes better than each of them.
"""

import jax
import jax.numpy as jnp

from gpt_jax.checkpoints.reader import CheckpointReader, listed
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program import new_run
from gpt_jax.workdir.paths import Workdir

ITEM = 'params'


def average(workdir, out, *, steps=None, last=None):
  """Writes the mean of the parameters of `steps`, or of the `last` ones, to `out`.

  Returns the averaged steps. `out` has config, tokenizer and one step, the newest of
  them; sums are float32, whatever the parameters are. An exponential moving average
  that the run keeps is not part of it. Raises CheckpointError for steps that are not
  there, StorageError for an `out` that is not empty.
  """
  workdir, out = Workdir(workdir), Workdir(out)
  config = workdir.read_config()
  if config is None:
    raise CheckpointError(f'{workdir}: holds no run; expected one with saved steps.')
  new_run.require_new(out)
  with CheckpointReader(workdir.checkpoints) as store:
    chosen = _chosen(store, steps, last)
    params = mean_params(store, chosen)
    meta = store.read_meta(chosen[-1]) | dict(averaged=chosen)
  new_run.write(
    out,
    step=chosen[-1],
    items={ITEM: params},
    meta=meta,
    config=config,
    save_tokenizer=new_run.copied(workdir.tokenizer),
    made_of=dict(averaged=chosen, source=str(workdir)),
  )
  return chosen


def mean_params(store, steps):
  """Returns the mean of the parameters saved at `steps`, in their own dtypes."""
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  abstract = store.abstract(steps[0], ITEM, sharding=here)
  sums = None
  for step in steps:
    params = store.restore(step, {ITEM: abstract})[ITEM]
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    sums = wide if sums is None else jax.tree.map(jnp.add, sums, wide)
  return jax.tree.map(
    lambda total, like: (total / len(steps)).astype(like.dtype), sums, abstract
  )


def _chosen(store, steps, last):
  there = store.steps()
  if (steps is None) == (last is None):
    raise ConfigError('give either --steps=10,20,30 or --last=N, which to average.')
  if last is not None:
    if not 1 <= last <= len(there):
      raise CheckpointError(
        f'--last={last}: {store.directory} holds {listed(there)}; checkpoint.keep_last'
        ' says how many a run keeps.'
      )
    return there[-last:]
  if not steps or len(set(steps)) != len(steps):
    raise ConfigError(f'--steps={steps}: expected steps, each once, such as 10,20,30.')
  missing = sorted(set(steps) - set(there))
  if missing:
    raise CheckpointError(
      f'no checkpoint of step {", ".join(map(str, missing))} in {store.directory}; it'
      f' holds {listed(there)}. checkpoint.keep_last says how many a run keeps.'
    )
  return sorted(steps)
