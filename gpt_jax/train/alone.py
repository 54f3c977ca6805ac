"""Computes the steps of one run: compiled to fit into memory, then one by one."""

import functools

import jax

from gpt_jax.parallel import sync
from gpt_jax.program import setup, step_memory, throughput
from gpt_jax.program.batches import put_batch


def drive(run):
  """Returns what `run`, a `loop.run`, returns once each of its steps is computed."""
  try:
    step = next(run)
    while True:
      try:
        metrics = _compute(step)
      except BaseException as error:
        step = None
        step = run.throw(error)
      else:
        step = None  # its state has to be gone where the run restores another
        step = run.send(metrics)
  except StopIteration as end:
    return end.value


def _compute(step):
  """Returns the metrics of a Step, whose progress then holds the state after it."""
  program, progress = step.session.program, step.progress
  advance = program.step_with_norms if step.with_norms else program.step
  batch = put_batch(program, step.rows)
  if step.is_new:
    widest = _widest(step.session, batch)
    executable = _compile_to_fit(step.session, advance, progress, widest)
    if step.is_first and program.frozen:
      _describe_frozen(step.session, executable, progress.step)
    del executable
  progress.state, metrics = advance(progress.state, batch)
  return metrics


def _widest(session, batch):
  """Returns a batch, or its shapes, as wide as any will be: memory has to suffice."""
  columns = getattr(session.dataset, 'most_columns', None)  # of a task, whose rows vary
  if columns is None:
    return batch
  return {
    name: jax.ShapeDtypeStruct(
      (values.shape[0], columns), values.dtype, sharding=values.sharding
    )
    for name, values in batch.items()
  }


def _compile_to_fit(session, advance, progress, batch):
  """Returns the compiled step; ConfigError, on all processes, where memory lacks."""
  program = session.program
  make = functools.partial(
    setup.make_program,
    tokenizer=session.tokenizer,
    mesh=program.rules.mesh,
    embedding_rows=program.config.model.vocab_size,
  )
  return sync.raise_on_all(
    lambda: step_memory.check(program, advance, progress.state, batch, make)
  )


def _describe_frozen(session, executable, step):
  program = session.program
  size = program.horizon.batch_size_at(step)
  session.console.note(throughput.describe_frozen(program, executable, size))
