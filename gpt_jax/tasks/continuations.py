"""Rows of a prompt and what follows it, of which only that bears loss.

They have the ids by which `TextGenerator` scores and writes: training and evaluation
read the same.
"""

import re

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.data.continuation import encode_pair
from gpt_jax.tasks.task import Row

_FIELD = re.compile(r'\{(\w+)\}')


def continuation_row(encoder, prompt, text):
  """Returns the Row of a text after a prompt, with `loss_mask` 1 on it and on the end.

  A prompt that is too long loses its first tokens; None: not even its last one fits.
  """
  before, ids = encode_pair(encoder.tokenizer, prompt, text)
  if not encoder.begin and not len(before) and len(ids):
    # As in TextGenerator: something has to predict the first token.
    before = [encoder.end[0]] if encoder.end else encoder.tokenizer.encode('\n')[:1]
  room = encoder.max_tokens - len(encoder.begin) - len(ids) - len(encoder.end)
  if room < 1:
    return None
  tokens = [*encoder.begin, *list(before)[-room:], *ids, *encoder.end]
  mask = np.zeros(len(tokens), np.int32)
  mask[len(tokens) - len(ids) - len(encoder.end) :] = 1
  return Row(np.array(tokens, np.int32), {'loss_mask': mask})


def cut_text(encoder, text, num_tokens):
  """Returns as much of the start of a text as `num_tokens` tokens are."""
  ((ids, spans),) = encoder.tokenizer.encode_with_offsets([text])
  if len(ids) <= num_tokens:
    return text
  return text[: spans[num_tokens - 1, 1]] if num_tokens > 0 else ''


def fill(template, values):
  """Returns a template with the values of its {fields}; other braces stay."""
  return _FIELD.sub(lambda match: str(values[match[1]]), template)


def check_template(template, fields):
  """Raises ConfigError unless task.options.prompt has these {fields} and no other."""
  found = _FIELD.findall(template)
  for name in found:
    if name not in fields:
      hint = nearest(name, fields)
      raise ConfigError(
        f'task.options.prompt={template!r}: {{{name}}}: expected'
        f' {", ".join(f"{{{field}}}" for field in fields)}'
        + (f'; did you mean {{{hint}}}?' if hint else '.')
      )
  if missing := [name for name in fields if name not in found]:
    raise ConfigError(
      f'task.options.prompt={template!r}: lacks {{{missing[0]}}}; put it where the'
      ' model shall read it.'
    )
