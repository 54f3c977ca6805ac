"""Scores a finished or running run: its eval sets, and baselines on the same splits."""

import dataclasses
import math

import numpy as np

from gpt_jax import objectives
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import CheckpointError, ConfigError, note_once
from gpt_jax.data import pipeline
from gpt_jax.evaluation import baselines
from gpt_jax.evaluation.scores import Scores as TaskScores
from gpt_jax.examples.reading import reading_once
from gpt_jax.model import exits
from gpt_jax.parallel import multihost, sync
from gpt_jax.program import restore, setup, task_data, trained
from gpt_jax.storage import objects
from gpt_jax.tasks import make_task
from gpt_jax.tracking.console import progress
from gpt_jax.train import task_baselines, task_end
from gpt_jax.train.task_scores import SetResult, score_sets
from gpt_jax.workdir.paths import Workdir

BASELINE_TOKENS = 10_000_000
"""Of the training text that baselines learn from: about a minute and a GB."""
NUM_STRETCHES = 100


@dataclasses.dataclass
class Scores:
  """Metrics of a run's eval sets."""

  step: int
  sets: dict[str, dict[str, float]]
  baselines: dict[str, list[tuple[str, str, str]]]  # rows (name, nats, bits)
  results: dict[str, SetResult] = dataclasses.field(default_factory=dict)  # of a task
  task_baselines: dict[str, dict[str, TaskScores]] = dataclasses.field(
    default_factory=dict
  )
  """Of a task, by set and by name."""

  def flat(self):
    """Returns `{set/metric: value}`."""
    return {
      f'{name}/{key}': value
      for name, metrics in self.sets.items()
      for key, value in metrics.items()
    }


@reading_once()
def score_run(
  workdir,
  overrides=None,
  *,
  step=None,
  with_baselines=False,
  baseline_tokens=BASELINE_TOKENS,
):
  """Returns the Scores of a workdir's parameters (the averaged ones, if kept).

  `step`: None: the newest one; of a task the one with the best metric.
  `baseline_tokens`: of the training text that baselines learn from, at most; 0: all.
  Several processes score a share of each batch; the first one has the baselines. With
  `inference.depth` the first so many layers are scored.
  """
  workdir = Workdir(workdir)
  kept = setup.read_config(workdir).checkpoint
  if not objects.is_folder(workdir.checkpoints):
    raise CheckpointError(
      f'{workdir}: holds no checkpoint; if `gpt-jax eval --config=...` has scored a'
      ' model there before training, give that command again.'
    )
  trained.refuse_adapter(overrides or {})
  # Nothing is saved here, so no set has to give the metric of the best checkpoint.
  overrides = (overrides or {}) | {'checkpoint.keep_best': 0}
  config = setup.resolve(workdir.read_config(), overrides)
  if with_baselines:
    require_text(config)
  tokenizer = setup.open_tokenizer(config, workdir)
  program = saved = setup.open_saved_program(config, tokenizer)
  if config.inference.depth is not None:
    program = setup.open_saved_program(exits.shallower(saved.config), tokenizer)
  is_task = bool(config.task.name)
  if is_task:
    eval_sets = task_end.final_sets(config, tokenizer)
  else:
    eval_sets = setup.open_eval_sets(config, tokenizer, workdir)
  best = kept.best_metric, kept.keep_best, kept.best_mode
  with CheckpointReader(workdir.checkpoints, *best) as store:
    if step is None and is_task:
      step = task_end.best_step(store, kept.keep_best)
    if step is None and multihost.process_count() > 1:  # one that all of them read
      step = sync.number_from_primary(store.latest_step() or -1)
      step = None if step < 0 else step
    params, step = restore.load_params(
      store, saved.abstract_state.params, step=step, tokenizer=tokenizer
    )
  params = exits.first_layers(program.model.cfg, params)
  limit = baseline_tokens if with_baselines else None
  return score_params(program, params, step, eval_sets, tokenizer, workdir, limit)


def score_params(
  program, params, step, eval_sets, tokenizer, workdir, baseline_tokens=None
):
  """Returns the Scores of parameters of a Program on `{name: Dataset}`.

  `baseline_tokens`: as in `score_run`; None: no baselines.
  """
  config = program.config
  with_baselines = baseline_tokens is not None
  references, _ = restore.load_references(program, tokenizer)
  is_first = multihost.is_primary()
  results = dict(
    score_sets(
      program, params, eval_sets, tokenizer=tokenizer, references=references,
      progress=progress if is_first else None,
    )
  )  # fmt: skip
  sets = {name: result.metrics for name, result in results.items()}
  if config.task.name:
    found = _task_baselines(config, results) if with_baselines and is_first else {}
    return Scores(step, sets, {}, results, found)
  rows = {}
  if with_baselines:
    train = setup.open_training_data(config, tokenizer, workdir)
    for name, dataset in eval_sets.items() if is_first else ():
      train_N, eval_N = baseline_text(train, dataset, config.eval, baseline_tokens)
      num_bytes = _num_bytes(dataset, eval_N, tokenizer)
      rows[name] = baseline_rows(train_N, eval_N, num_bytes, tokenizer, sets[name])
  return Scores(step, sets, rows)


def _task_baselines(config, results):
  """Returns `{set: {name: Scores}}` of the examples that the model was scored on."""
  task, train = make_task(config), task_data.records_of(config, 'train')
  return {
    name: task_baselines.score_baselines(task, train, result.records)
    for name, result in results.items()
  }


def baseline_text(train, dataset, cfg, limit):
  """Returns (training tokens, held-out tokens) for baselines; says what is left out.

  Training tokens are `limit` at most, in stretches from all over the split; held-out
  ones are those that the model was scored on, as far as `limit` goes.
  """
  (train_store,) = train.stores.values()
  train_N = _stretches(train_store, limit or train_store.num_tokens)
  eval_N = np.concatenate(
    [
      np.asarray(store.read(0, _num_scored(dataset, store, cfg)), np.int32)
      for store in dataset.stores.values()
    ]
  )
  eval_N = eval_N[: limit or len(eval_N)]
  for kept, total, what in (
    (len(train_N), train.num_tokens, 'learn from'),
    (len(eval_N), dataset.num_tokens, 'are scored on'),
  ):
    if kept < total:
      note_once(f'baselines {what} {kept:,} of {total:,} tokens')
  return train_N, eval_N


def _num_scored(dataset, store, cfg):
  """Returns how many tokens of a store evaluation reads; in a mixture all."""
  rows = cfg.max_batches * cfg.batch_size
  if not 0 < rows < len(dataset) or len(dataset.stores) > 1:
    return store.num_tokens
  return max(stop for n in range(rows) for _, stop in dataset.spans(n)[1])


def _stretches(store, limit):
  """Returns at most `limit` tokens of a store, in stretches at equal distances."""
  if store.num_tokens <= limit:
    return np.asarray(store.read(0, store.num_tokens), np.int32)
  count = min(NUM_STRETCHES, limit)
  starts = np.linspace(0, store.num_tokens - limit // count, count).astype(int)
  parts = [store.read(start, start + limit // count) for start in starts]
  return np.concatenate(parts).astype(np.int32)


def _num_bytes(dataset, eval_N, tokenizer):
  """Returns the bytes of text that the first tokens of a set, `eval_N`, stand for."""
  if tokenizer.has_exact_bytes:
    return int(tokenizer.byte_lengths[eval_N].sum())
  total, left = 0, len(eval_N)
  for store in dataset.stores.values():
    count = min(left, store.num_tokens)
    total, left = total + int(store.fields['bytes'].read(0, count).sum()), left - count
  return total


def baseline_rows(train_N, eval_N, num_bytes, tokenizer, metrics):
  """Returns rows of the model and every baseline, the best first.

  `num_bytes`: those of the text that `eval_N` stands for.
  """
  rows = baselines.ngram_baselines(
    train_N,
    eval_N,
    tokenizer.vocab_size,
    bytes_in_eval=num_bytes,
    progress=progress,
  )
  if tokenizer.byte_lengths.any():
    rows += baselines.compressor_baselines(
      tokenizer.decode(_within_reach(train_N, tokenizer)).encode(),
      tokenizer.decode(eval_N).encode(),
      num_eval_tokens=len(eval_N),
      bytes_in_eval=num_bytes,
    )
  bits = metrics.get('bits_per_byte', math.inf)
  rows.append(baselines.Baseline('this model', metrics['loss'], bits))
  rows.sort(key=lambda row: row.nats_per_token)
  return [(row.name, f'{row.nats_per_token:.4f}', _bits(row)) for row in rows]


def _within_reach(train_N, tokenizer):
  """Returns the last tokens, of as many bytes as a compressor can refer back to."""
  back_N = np.cumsum(tokenizer.byte_lengths[train_N[::-1]], dtype=np.int64)
  count = int(np.searchsorted(back_N, baselines.XZ_REACH_BYTES)) + 1
  return train_N[-count:]


def _bits(row):
  # Ids of a synthetic language stand for no bytes.
  return f'{row.bits_per_byte:.4f}' if math.isfinite(row.bits_per_byte) else '-'


def has_baselines(config):
  """Returns whether baselines compare with a run.

  A task has its own; counts compare with one text, all of it scored in order.
  """
  if config.task.name:
    return True
  has_mask = 'loss_mask' in pipeline.declared_fields(config.data)
  predicts_text = objectives.describe(config).predicts_text
  return predicts_text and not config.data.mixture and not has_mask


def require_text(config):
  """Raises ConfigError for what counts cannot compare with."""
  if not has_baselines(config):
    raise ConfigError(
      '--baselines: counts need one source of text read left to right, all of it'
      f' scored; this run has objective.name={config.objective.name!r}'
      + (', a mixture' if config.data.mixture else '')
      + (', tokens without loss.' if config.data.prompt_field else '.')
    )
