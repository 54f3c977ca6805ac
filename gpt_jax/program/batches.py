"""What a program reads: this process's rows of each batch, and whole eval sets."""

import functools

from gpt_jax.evaluation.evaluate import evaluate
from gpt_jax.parallel import multihost


def put_batch(program, batch):
  """Returns this process's rows of a batch as arrays on the mesh of `program`."""
  return multihost.global_batch(batch, program.batch_sharding)


def process_shard(program):
  """Returns which part of each batch this process reads, as keyword arguments."""
  # Processes whose devices hold the same rows (tensor parallelism) read the same part.
  size = program.batch_sharding.mesh.size
  rows = multihost.local_rows(program.batch_sharding, size)
  length = rows.stop - rows.start
  return dict(process_index=rows.start // length, process_count=size // length)


def _silent(batches, label, total):
  return batches


def evaluate_sets(program, params, sets, progress=_silent, references=None):
  """Yields (name, metrics) of `{name: Dataset}`, one set after the other.

  `references`: parameters that the objective's loss reads besides, if any.
  `progress`: `(batches, label, number of batches) -> batches`, for the screen.
  """
  cfg = program.config.eval
  extra = () if references is None else (references,)

  def evaluate_batch(params, batch, index):
    return program.evaluate(params, batch, index, *extra)

  for name, dataset in sets.items():

    def labelled(batches, total, label=f'eval {name}'):
      return progress(batches, label, total)

    metrics = evaluate(
      evaluate_batch,
      params,
      dataset,
      batch_size=cfg.batch_size,
      place=functools.partial(put_batch, program),
      max_batches=cfg.max_batches,
      objective=program.objective,
      metrics=program.metrics,
      progress=labelled,
      **process_shard(program),
    )
    yield name, metrics
