"""Batches as training gets them: real source, tokenizer, packing and thread."""

import itertools

from gpt_jax.benchmarks import timing
from gpt_jax.data.loader import Loader
from gpt_jax.program import setup
from gpt_jax.program.batches import process_shard


def cases(subject):
  """Returns `loader`: one batch, made by the thread and taken by nobody else.

  Opens (and so learns and tokenizes) what the config says in `subject.workdir`. Each
  measurement starts a thread of its own, which ends with it: none reads while other
  cases are timed. Raises DataError or ConfigError where there is no data.
  """
  config, rows = subject.config, subject.rows
  tokenizer = setup.open_tokenizer(config, subject.workdir)
  dataset = setup.open_training_data(config, tokenizer, subject.workdir)
  share = process_shard(subject.program)
  starts = itertools.count(0, rows)

  def run(times):
    loader = Loader(dataset, prefetch_batches=config.data.prefetch_batches, **share)
    with loader.batches(next(starts), [rows] * times) as batches:
      for _ in batches:
        pass

  return [timing.Case('loader', run, tokens=subject.tokens)]
