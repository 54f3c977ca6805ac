"""What a program reads: this process's rows of each batch, and whole eval sets."""

import functools
import itertools

from gpt_jax.core.errors import note_once
from gpt_jax.data.loader import Loader
from gpt_jax.evaluation.evaluate import evaluate
from gpt_jax.parallel import free_memory, multihost


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


def first_microbatches(program, dataset):
  """Returns an endless iterator over this process's rows of training's microbatches.

  They are from sample 0 on, numpy int32. Close it, as those of `Loader.batches`.
  """
  config = program.config
  size = program.horizon.batch_size_at(0) // config.train.grad_accum
  loader = Loader(
    dataset, prefetch_batches=config.data.prefetch_batches, **process_shard(program)
  )
  return loader.batches(0, itertools.repeat(size))


def _silent(batches, label, total):
  return batches


def _note_bound(name, dataset, cfg):
  total = -(-len(dataset) // cfg.batch_size)
  if 0 < cfg.max_batches < total and multihost.is_primary():
    note_once(
      f'eval {name}: the first {cfg.max_batches:,} of {total:,} batches of'
      f' {cfg.batch_size} (eval.max_batches; `gpt-jax eval --all` scores all)'
    )


def evaluate_sets(
  program, params, sets, progress=_silent, references=None, on_predictions=None
):
  """Yields (name, metrics) of `{name: Dataset}`, one set after the other.

  `references`: parameters that the objective's loss reads besides, if any.
  `progress`: `(batches, label, number of batches) -> batches`, for the screen.
  `on_predictions`: of sets of a task, `(name, arrays of a batch)`.
  """
  cfg = program.config.eval
  extra = () if references is None else (references,)

  for name, dataset in sets.items():
    is_task = getattr(dataset, 'task', None) is not None
    run = program.predict if is_task and on_predictions else program.evaluate

    def evaluate_batch(params, batch, index, run=run):
      return run(params, batch, index, *extra)

    if not is_task:
      _note_bound(name, dataset, cfg)

    def labelled(batches, total, label=f'eval {name}'):
      return progress(batches, label, total)

    with free_memory.explained(
      lambda: f'a batch of eval.batch_size={cfg.batch_size}',
      functools.partial(_smaller_batch, program),
    ):
      metrics = evaluate(
        evaluate_batch,
        params,
        dataset,
        batch_size=cfg.batch_size,
        place=functools.partial(put_batch, program),
        max_batches=0 if is_task else cfg.max_batches,
        objective=program.objective,
        metrics=program.metrics,
        progress=labelled,
        on_predictions=functools.partial(on_predictions, name)
        if is_task and on_predictions
        else None,
        **process_shard(program),
      )
    yield name, metrics


def _smaller_batch(program, asked):
  """Returns which eval.batch_size needs half of what is free, by proportion."""
  size, shards = program.config.eval.batch_size, program.rules.num_shards('batch')
  free = free_memory.free_on(program.rules.mesh.local_devices[0])
  share = free / asked if asked and free else 1.0
  fitting = max(1, int(size * min(1.0, share) / 2) // shards) * shards
  if fitting >= size:
    return 'The model alone is too large for this device; use more of them.'
  return f'Try --config.eval.batch_size={fitting}.'
