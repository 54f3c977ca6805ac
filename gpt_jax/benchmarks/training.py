"""The training step, its forward pass and its loader, exactly as `train` runs them."""

import itertools

from gpt_jax.benchmarks import timing
from gpt_jax.data.loader import Loader
from gpt_jax.model import flops
from gpt_jax.program import setup
from gpt_jax.program.batches import process_shard


def step(workload):
  """Returns the step: forward, backward, update. It replaces `workload.state`."""
  program, batch = workload.program, workload.batch
  lowered = program.step.lower(workload.state, batch)
  try:
    _, seconds, gib = timing.compiled(lowered)
  except RuntimeError as error:
    return [timing.Skipped('step', timing.out_of_memory(error))]

  def once():
    # As training calls it, and compiled above: of the executable itself JAX 0.10.2
    # refuses kernels of 4 bits on CPUs, for layouts that do not differ.
    workload.state, metrics = program.step(workload.state, batch)
    if 'gpt_jax' not in workload.first_loss:
      workload.first_loss['gpt_jax'] = float(metrics['loss'])
    return metrics

  return [
    timing.Case(
      'step',
      lambda times: timing.repeat(once, times),
      compile_seconds=seconds,
      memory_gib=gib,
      tokens=workload.tokens,
      flops=step_flops(workload),
    )
  ]


def forward(workload):
  """Returns the loss without gradients or dropout, as evaluation computes it."""
  program, batch = workload.program, workload.batch

  def inputs():  # of the present state: steps have donated those before
    state = workload.state
    references = () if state.references is None else (state.references,)
    return state.params, batch, 0, *references

  lowered = program.evaluate.lower(*inputs())
  try:
    _, seconds, gib = timing.compiled(lowered)
  except RuntimeError as error:
    return [timing.Skipped('forward', timing.out_of_memory(error))]
  return [
    timing.Case(
      'forward',
      lambda times: timing.repeat(lambda: program.evaluate(*inputs()), times),
      compile_seconds=seconds,
      memory_gib=gib,
      tokens=workload.tokens,
      flops=flops.whole_program(workload.program) / 3 * workload.tokens,
    )
  ]


def loader(workload):
  """Returns `loader`: one batch of the run's data, read by the loader's thread.

  Tokenizes the data into `workload.workdir`. Each measurement starts and ends a thread,
  so that none reads while others are timed. Raises DataError where there is no data.
  """
  config, rows = workload.config, workload.rows
  tokenizer = setup.open_tokenizer(config, workload.workdir)
  dataset = setup.open_training_data(config, tokenizer, workload.workdir)
  share = process_shard(workload.program)
  starts = itertools.count(0, rows)

  def run(times):
    batch_loader = Loader(
      dataset, prefetch_batches=config.data.prefetch_batches, **share
    )
    with batch_loader.batches(next(starts), [rows] * times) as batches:
      for _ in batches:
        pass

  return [timing.Case('loader', run, tokens=workload.tokens)]


def step_flops(workload):
  """Returns the FLOPs of a step as MFU counts them: `flops.of_program` a token."""
  return flops.of_program(workload.program) * workload.tokens
