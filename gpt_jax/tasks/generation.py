"""Text as it is, for adaptation to a domain: every token bears loss.

Perplexity and bits per byte are those of whole texts: long ones are cut into windows
in which each token is predicted once.
"""

import math

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import Problem
from gpt_jax.evaluation import baselines as ngram_baselines
from gpt_jax.evaluation.scores import Scores
from gpt_jax.tasks.task import Row, Task

NUM_BYTES = 256
ORDERS = (1, 3, 6)
"""Of the n-grams of bytes that are its baselines, in bits per byte."""


class Generation(Task):
  """Losses alone: there is no answer to compare with, so nothing is decoded."""

  name = 'generation'
  inputs = ('text',)
  target = 'text'
  objectives = ('causal_lm',)
  fields = ('bytes',)
  metrics = ('perplexity', 'bits_per_byte', 'accuracy')
  higher_is_better = False
  packing = 'first_fit'
  answers = 'none'

  def encode(self, record, encoder, is_training):
    """Returns rows whose neighbours share a token, the last target of the one.

    A text's first token is predicted from the begin token, else from an end token, as
    `TextGenerator.score_texts` does; of tokenizers without either it is only read.
    """
    del is_training
    tokenizer = encoder.tokenizer
    ((ids, num_bytes),) = tokenizer.encode_with_bytes([record.values['text']])
    first = encoder.begin or encoder.end
    tokens = np.concatenate([first, ids, encoder.end]).astype(np.int32)
    counts = np.concatenate(
      [np.zeros(len(first)), num_bytes, np.zeros(len(encoder.end))]
    ).astype(np.int32)
    size = encoder.max_tokens
    starts = range(0, max(1, len(tokens) - 1), size - 1)
    encoder.counts.examples += 1
    encoder.counts.windowed += len(starts) > 1
    return [
      Row(tokens[start : start + size], {'bytes': counts[start : start + size]})
      for start in starts
    ]

  def score(self, records, predictions):
    """Returns the Scores of predictions with `nats`, those of baselines; else none."""
    if not predictions:
      return Scores({})
    nats = sum(one['nats'] for one in predictions)
    num_bytes = sum(len(_bytes(record)) for record in records)
    return Scores({'bits_per_byte': nats / math.log(2) / num_bytes})

  def baselines(self, train, records):
    texts = [_bytes(record) for record in records]
    nats_ON = ngram_baselines.ngram_nats(
      np.concatenate([_bytes(record) for record in train]),
      np.concatenate(texts), NUM_BYTES, max_order=max(ORDERS),
    )  # fmt: skip
    ends = np.cumsum([len(text) for text in texts])[:-1]
    return {
      f'{order}-gram of bytes': [
        {'nats': float(part.sum())} for part in np.split(nats_ON[order], ends)
      ]
      for order in ORDERS
    }


def _bytes(record):
  return np.frombuffer(record.values['text'].encode(), np.uint8).astype(np.int32)


def problems(config):
  """Returns the Problems of a Config with this task."""
  if config.data.seq_len < 2:
    return [Problem('data.seq_len', f'={config.data.seq_len}: expected 2 at least')]
  return []


@registry.entry(problems=problems)
def make(config):
  """Returns the task of a Config: texts."""
  return Generation(config)
