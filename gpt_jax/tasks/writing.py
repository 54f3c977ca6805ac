"""Texts that a model writes for a task: how they are asked for, and written."""

import numpy as np

from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.core.sections import at_least, between, section

BATCH = 128
"""Prompts between two steps of a progress bar; they are of like length."""


@section
class Writing:
  """Options of tasks whose predictions are texts."""

  max_new_tokens: int | None = at_least(1, None)
  """Of a text, at most; None: half of data.seq_len. Prompts leave space for them."""
  beams: int = between(1, 64, 1)
  """Above 1: beam search, a text at a time; 1 takes the likeliest token each time."""
  length_penalty: float = 1.0
  """Beams are compared by log-probability / tokens ** length_penalty."""


def max_new_tokens(config):
  """Returns how many tokens a text of a Config's task has at most."""
  return config.task.options.max_new_tokens or max(1, config.data.seq_len // 2)


def problems(config):
  """Returns the Problems of a Config whose task.options are a `Writing`."""
  found = []
  if config.task.too_long == 'window':
    text = '=window: a text that is written follows one prompt; expected truncate,'
    text += ' truncate_left or drop'
    found.append(Problem('task.too_long', text))
  if max_new_tokens(config) >= config.data.seq_len:
    text = f'={config.task.options.max_new_tokens}: leaves no token of data.seq_len='
    text += f'{config.data.seq_len} for a prompt'
    found.append(Problem('task.options.max_new_tokens', text))
  return found


def num_free(config, begin):
  """Returns how many tokens of a prompt fit beside `begin` and what is written.

  Raises ConfigError where there is none.
  """
  new = max_new_tokens(config)
  free = config.data.seq_len - new - len(begin)
  if free < 1:
    raise ConfigError(
      f'data.seq_len={config.data.seq_len}: {new} new tokens'
      ' (task.options.max_new_tokens) and a begin token leave none for a prompt; raise'
      ' it.'
    )
  return free


def write(generator, prompts_ids, config, progress=None, **options):
  """Returns [{'text'}] of what follows each prompt, without white space around it.

  Args:
    generator: an `inference.text.TextGenerator`.
    prompts_ids: ids of each prompt; None for one that is not asked, and has None.
    config: a Config whose task.options are a `Writing`.
    progress: `(iterable, total) -> iterable`, for the screen.
    options: further ones of `inference.text_options.TextOptions`.
  """
  how = config.task.options
  options |= dict(max_new_tokens=max_new_tokens(config))
  if how.beams > 1:
    options |= dict(beams=how.beams, length_penalty=how.length_penalty)
  else:
    options |= dict(temperature=0.0)
  asked = [i for i, ids in enumerate(prompts_ids) if ids is not None]
  order = sorted(asked, key=lambda i: len(prompts_ids[i]))
  starts = range(0, len(order), BATCH)
  found: list[dict | None] = [None] * len(prompts_ids)
  for start in starts if progress is None else progress(starts, len(starts)):
    numbers = order[start : start + BATCH]
    texts = generator.continue_ids([prompts_ids[i] for i in numbers], **options)
    for i, text in zip(numbers, texts, strict=True):
      found[i] = {'text': text.strip()}
  return found


def end_id(tokenizer, config):
  """Returns the id of the end token, which a text that is written has to learn.

  Raises ConfigError for a tokenizer without one.
  """
  if tokenizer.eos_id is None:
    raise ConfigError(
      f'task.name={config.task.name!r}: the {tokenizer.name} tokenizer has no end'
      ' token, so that no text would ever end; choose another tokenizer.name, such as'
      ' byte or bpe.'
    )
  return tokenizer.eos_id


def with_loss(parts):
  """Returns (tokens, loss mask), int32 [n] each, of [(ids, whether they bear loss)]."""
  tokens = np.concatenate([np.asarray(ids, np.int32) for ids, _ in parts])
  mask = np.repeat([int(bears) for _, bears in parts], [len(ids) for ids, _ in parts])
  return tokens, mask.astype(np.int32)
