"""What a program reads: rows of a batch on its mesh, eval sets batch by batch."""

import dataclasses

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import free_memory
from gpt_jax.program import batches, setup
from tests import tiny_runs


def open_program(tmp_path, overrides):
  config = tiny_runs.tiny_config(overrides)
  tokenizer = setup.open_tokenizer(config, tmp_path)
  return setup.open_program(config, tokenizer), tokenizer


def test_one_process_reads_whole_batches(tmp_path):
  program, _ = open_program(tmp_path, {'parallel.mesh.tensor': 2})
  assert batches.process_shard(program) == dict(process_index=0, process_count=1)


def test_the_first_microbatches_are_rows_of_the_first_steps(tmp_path):
  overrides = {'train.grad_accum': 2, 'train.batch_size': 16}
  program, tokenizer = open_program(tmp_path, overrides)
  dataset = setup.open_training_data(program.config, tokenizer, tmp_path)
  with batches.first_microbatches(program, dataset) as found:
    rows = np.concatenate([next(found)['tokens'] for _ in range(2)])
  wanted = np.stack([dataset.sample(n)['tokens'] for n in range(16)])
  np.testing.assert_array_equal(rows, wanted)


def test_sets_are_scored_one_after_the_other_with_progress(tmp_path):
  sets = {name: {'split': name} for name in ('validation', 'test')}
  overrides = {'eval.sets': sets, 'eval.max_batches': 2, 'model.num_layers': 1}
  program, tokenizer = open_program(tmp_path, overrides)
  datasets = setup.open_eval_sets(program.config, tokenizer, tmp_path)
  shown = []

  def progress(iterable, label, total):
    shown.append((label, total))
    return iterable

  params = program.init(0).params
  scored = batches.evaluate_sets(program, params, datasets, progress)
  assert next(scored)[0] == 'validation' and len(shown) == 1
  ((name, metrics),) = scored
  assert name == 'test' and shown == [('eval validation', 2), ('eval test', 2)]
  assert metrics['tokens'] == 2 * program.config.eval.batch_size * 16


def test_a_batch_that_does_not_fit_names_one_that_does(tmp_path, monkeypatch):
  program, tokenizer = open_program(tmp_path, {'eval.batch_size': 32})
  datasets = setup.open_eval_sets(program.config, tokenizer, tmp_path)

  def evaluate(*arguments):
    raise jax.errors.JaxRuntimeError('Out of memory allocating 4000 bytes.')

  monkeypatch.setattr(free_memory, 'free_on', lambda device: 2000)
  failing = dataclasses.replace(program, evaluate=evaluate)
  with pytest.raises(
    ConfigError, match='eval.batch_size=32.*--config.eval.batch_size=8'
  ):
    list(batches.evaluate_sets(failing, None, datasets))
