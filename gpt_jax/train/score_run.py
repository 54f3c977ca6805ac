"""Scores a finished or running run: its eval sets, and baselines on the same splits."""

import dataclasses
import math

import numpy as np

from gpt_jax import objectives
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import pipeline
from gpt_jax.evaluation import baselines
from gpt_jax.program import restore, setup
from gpt_jax.program.batches import evaluate_sets
from gpt_jax.tracking.console import progress
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass
class Scores:
  """Metrics of a run's eval sets."""

  step: int
  sets: dict[str, dict[str, float]]
  baselines: dict[str, list[tuple[str, str, str]]]  # rows (name, nats, bits)

  def flat(self):
    """Returns `{set/metric: value}`."""
    return {
      f'{name}/{key}': value
      for name, metrics in self.sets.items()
      for key, value in metrics.items()
    }


def score_run(workdir, overrides=None, *, step=None, with_baselines=False):
  """Returns the Scores of a workdir's parameters (the averaged ones, if kept)."""
  workdir = Workdir(workdir)
  setup.read_config(workdir)
  # Nothing is saved here, so no set has to give the metric of the best checkpoint.
  overrides = (overrides or {}) | {'checkpoint.keep_best': 0}
  config = setup.resolve(workdir.read_config(), overrides)
  if with_baselines:
    _require_text(config)
  tokenizer = setup.open_tokenizer(config, workdir)
  program = setup.open_saved_program(config, tokenizer)
  eval_sets = setup.open_eval_sets(config, tokenizer, workdir)
  with CheckpointReader(workdir.checkpoints) as store:
    params, step = restore.load_params(
      store, program.abstract_state.params, step=step, tokenizer=tokenizer
    )
  references = restore.load_references(program, tokenizer)
  sets = dict(evaluate_sets(program, params, eval_sets, progress, references))
  rows = {}
  if with_baselines:
    train = setup.open_training_data(config, tokenizer, workdir)
    for name, dataset in eval_sets.items():
      rows[name] = baseline_rows(train, dataset, tokenizer, sets[name])
  return Scores(step, sets, rows)


def baseline_rows(train, dataset, tokenizer, metrics):
  """Returns rows of the model and every baseline, the best first."""
  train_N, eval_N = _tokens(train), _tokens(dataset)
  num_bytes = int(tokenizer.byte_lengths[eval_N].sum())
  rows = baselines.ngram_baselines(
    train_N, eval_N, tokenizer.vocab_size, bytes_in_eval=num_bytes
  )
  if tokenizer.byte_lengths.any():
    rows += baselines.compressor_baselines(
      tokenizer.decode(train_N).encode(),
      tokenizer.decode(eval_N).encode(),
      num_eval_tokens=len(eval_N),
    )
  bits = metrics.get('bits_per_byte', math.inf)
  rows.append(baselines.Baseline('this model', metrics['loss'], bits))
  rows.sort(key=lambda row: row.nats_per_token)
  return [(row.name, f'{row.nats_per_token:.4f}', _bits(row)) for row in rows]


def _bits(row):
  # Ids of a synthetic language stand for no bytes.
  return f'{row.bits_per_byte:.4f}' if math.isfinite(row.bits_per_byte) else '-'


def _tokens(dataset):
  stores = dataset.stores.values()
  return np.concatenate(
    [np.asarray(store.read(0, store.num_tokens), np.int32) for store in stores]
  )


def _require_text(config):
  has_mask = 'loss_mask' in pipeline.declared_fields(config.data)
  if not objectives.describe(config).predicts_text or config.data.mixture or has_mask:
    raise ConfigError(
      '--baselines: counts need one source of text read left to right, all of it'
      f' scored; this run has objective.name={config.objective.name!r}'
      + (', a mixture' if config.data.mixture else '')
      + (', tokens without loss (data.prompt_field).' if has_mask else '.')
    )
