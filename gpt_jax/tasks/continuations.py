"""Rows of a prompt and what follows it, of which only that bears loss.

They have the ids by which `TextGenerator` scores and writes: training and evaluation
read the same.
"""

import dataclasses

import numpy as np

from gpt_jax.data.continuation import encode_pair
from gpt_jax.tasks.task import Row
from gpt_jax.templates import prompts
from gpt_jax.templates.template import require_unanswered


def continuation_row(encoder, prompt, text, is_cut=False):
  """Returns the Row of a text after a prompt, with `loss_mask` 1 on it and on the end.

  A prompt that is too long loses its first tokens, and is counted as truncated, as is
  one that is cut already (`is_cut`). None, counted as dropped: not even its last one
  fits, or task.too_long='drop'.
  """
  before, ids = encode_pair(encoder.tokenizer, prompt, text)
  if not encoder.begin and not len(before) and len(ids):
    # As in TextGenerator: something has to predict the first token.
    before = [encoder.end[0]] if encoder.end else encoder.tokenizer.encode('\n')[:1]
  free = encoder.max_tokens - len(encoder.begin) - len(ids) - len(encoder.end)
  is_cut = is_cut or len(before) > free
  if free < 1 or (is_cut and encoder.too_long == 'drop'):
    encoder.counts.dropped += 1
    return None
  encoder.counts.truncated += is_cut
  tokens = [*encoder.begin, *list(before)[-free:], *ids, *encoder.end]
  mask = np.zeros(len(tokens), np.int32)
  mask[len(tokens) - len(ids) - len(encoder.end) :] = 1
  return Row(np.array(tokens, np.int32), {'loss_mask': mask})


def cut_text(encoder, text, num_tokens):
  """Returns as much of the start of a text as `num_tokens` tokens are."""
  ((ids, spans),) = encoder.tokenizer.encode_with_offsets([text])
  if len(ids) <= num_tokens:
    return text
  return text[: spans[num_tokens - 1, 1]] if num_tokens > 0 else ''


def template_of(name_or_text, target, fields, answer):
  """Returns the PromptTemplate of task.options.template: a name, or a text.

  `target`: what follows a text; `fields`: those that may stand in it; `answer`: the one
  that may not stand in the prompt.
  """
  template = prompts.get(name_or_text, fields=fields)
  if not template.target:
    template = dataclasses.replace(template, target=target)
  return require_unanswered(template, answer)
