"""Text as it is, for adaptation to a domain: every token bears loss.

Perplexity and bits per byte are those of whole texts: long ones are cut into windows
in which each token is predicted once.
"""

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import Problem
from gpt_jax.evaluation.scores import Scores
from gpt_jax.tasks.task import Row, Task


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
    del records, predictions
    return Scores({})


def problems(config):
  """Returns the Problems of a Config with this task."""
  if config.data.seq_len < 2:
    return [Problem('data.seq_len', f'={config.data.seq_len}: expected 2 at least')]
  return []


@registry.entry(problems=problems)
def make(config):
  """Returns the task of a Config: texts."""
  return Generation(config)
