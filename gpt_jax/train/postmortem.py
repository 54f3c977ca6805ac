"""postmortem.json: what is known of a run that diverged, for whoever looks after it."""

import math

import jax.numpy as jnp

from gpt_jax.data import loader as data_loader
from gpt_jax.program import norms
from gpt_jax.program.batches import process_shard, put_batch
from gpt_jax.train import hooks, save
from gpt_jax.workdir import files


def write(run, bad_steps, history):
  """Returns the path of the file. Every process calls it; the first one writes.

  It holds the last steps without an update (`bad_steps`, counted from 1) and their
  samples, the losses of `history`, and norms by layer of the last of them, which is
  taken once more and uses the state up.
  """
  save.commit_pending(run)
  after = int(run.state.step)
  found = _norms(run, bad_steps[-1])
  content = dict(
    step=bad_steps[-1],
    bad_steps=[_described(run, step) for step in bad_steps],
    history=[{k: number(v) for k, v in entry.items()} for entry in history],
    norms=found,
    norms_with_parameters_after_step=after,
    checkpoints=run.store.steps(),
  )
  with hooks.warn_if_unwritable(run, run.workdir.postmortem):
    if run.is_primary:
      files.write_json(run.workdir.postmortem, content)
  return run.workdir.postmortem


def number(value):
  """Returns `value`, or its name where JSON has none: 'nan', 'inf', '-inf'."""
  return value if math.isfinite(value) else str(value)


def _described(run, step):
  first, last = run.detours.samples_of(step)
  replay = f'gpt-jax replay --workdir={run.workdir} --step={step}'
  return dict(step=step, first_sample=first, last_sample=last, replay=replay)


def _norms(run, step):
  """Returns `{kind/name: norm}` of parameters, gradients and updates at `step`."""
  first, last = run.detours.samples_of(step)
  share = process_shard(run.program)
  ranges = [(first, last - first + 1)]
  try:
    with data_loader.Loader(run.dataset, **share).read(ranges) as batches:
      batch = put_batch(run.program, next(batches))
    # The same step draws the same dropout and the same hidden tokens.
    state = run.state.replace(step=jnp.full_like(run.state.step, step - 1))
    _, metrics = run.program.step_with_norms(state, batch)
    flat = norms.flatten(metrics['norms'])
  except Exception as error:  # a full device, perhaps: what is known must not be lost
    return {'error': f'{type(error).__name__}: {error}'}
  return {name: number(value) for name, value in flat.items()}
