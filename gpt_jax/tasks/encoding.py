"""Texts of a record as the ids of one row: begin, separator and end tokens, length."""

import dataclasses
import functools

import numpy as np

from gpt_jax.core.errors import ConfigError

MIN_TEXT_TOKENS = 1


@dataclasses.dataclass
class Counts:
  """What became of examples that are too long."""

  examples: int = 0
  truncated: int = 0
  dropped: int = 0
  windowed: int = 0
  unread_words: int = 0  # of tagged words: those that no row has

  def describe(self, max_tokens):
    """Returns a sentence about examples that were too long, '' without any."""
    parts = self._parts()
    if not parts:
      return ''
    words = f'; {self.unread_words:,} words are not read' * (self.unread_words > 0)
    return (
      f'{" and ".join(parts)} of {self.examples:,} examples, which have more than'
      f' {max_tokens} tokens (data.seq_len, task.too_long){words}'
    )

  def describe_prompts(self, max_tokens):
    """Returns a sentence about prompts that were too long for an answer, or ''."""
    parts = self._parts()
    if not parts:
      return ''
    return (
      f'prompts: {" and ".join(parts)} of {self.examples:,}, which with their answers'
      f' have more than {max_tokens} tokens (data.seq_len, task.too_long)'
    )

  def metrics(self):
    """Returns how many prompts were cut or dropped, by name, without those of none."""
    found = dict(prompts_truncated=self.truncated, prompts_dropped=self.dropped)
    return {name: count for name, count in found.items() if count}

  def _parts(self):
    found = (
      (self.truncated, 'truncated'),
      (self.dropped, 'dropped'),
      (self.windowed, 'read in windows'),
    )
    return [f'{count:,} {what}' for count, what in found if count]


class Encoder:
  """Makes rows of texts for one model: its tokenizer, special tokens and length."""

  def __init__(self, tokenizer, data, task, counts=None):
    """Takes a Tokenizer, a DataConfig and a TaskConfig; Counts to be added to."""
    self.tokenizer = tokenizer
    self.max_tokens, self.too_long = data.seq_len, task.too_long
    self.stride = task.window_stride
    end = tokenizer.eos_id if data.append_eos else None
    self.begin = [tokenizer.special_id(data.begin_token)] if data.begin_token else []
    self.end = [] if end is None else [end]
    self.counts = Counts() if counts is None else counts

  @functools.cached_property
  def separator(self):
    """Ids between two texts of a row."""
    # BERT's rows are [CLS] a [SEP] b [SEP]; others part texts by a line's end.
    return list(self.end if self.begin else self.tokenizer.encode('\n'))

  def admits(self, is_cut, is_readable=True):
    """Counts a prompt; returns whether it is asked: cut ones are not by 'drop'.

    Never is one of which, `is_readable` says, nothing fits beside its answers.
    """
    self.counts.examples += 1
    if not is_readable or (is_cut and self.too_long == 'drop'):
      self.counts.dropped += 1
      return False
    self.counts.truncated += is_cut
    return True

  def ids(self, text):
    """Returns the ids of a text, without special tokens, int32 [n]."""
    return self.tokenizer.encode(text)

  def frame(self, *parts):
    """Returns (tokens, token types): int32 [n] of `parts` with what stands between."""
    tokens, types = list(self.begin), [0] * len(self.begin)
    for i, part in enumerate(parts):
      after = self.separator if i + 1 < len(parts) else self.end
      tokens += [*part, *after]
      types += [min(i, 1)] * (len(part) + len(after))
    return np.array(tokens, np.int32), np.array(types, np.int32)

  def num_free(self, num_parts=1):
    """Returns how many tokens of text a row of so many parts holds."""
    between = len(self.separator) * (num_parts - 1) if num_parts > 1 else 0
    free = self.max_tokens - len(self.begin) - len(self.end) - between
    if free < MIN_TEXT_TOKENS * num_parts:
      raise ConfigError(
        f'data.seq_len={self.max_tokens}: leaves no token of a text beside begin,'
        ' separator and end; raise it.'
      )
    return free

  def fit(self, parts, may_shrink=None, limit=None):
    """Returns a list of versions of `parts` that fit into a row, by task.too_long.

    None is too long as a rule: one version, as it is. The longest of the parts that
    `may_shrink` (their numbers; default: all) gives tokens away first, or is read in
    windows. No version: the example is dropped. `limit`: tokens of all parts together;
    None: what `frame` leaves them.
    """
    parts = [list(part) for part in parts]
    limit = self.num_free(len(parts)) if limit is None else limit
    self.counts.examples += 1
    excess = sum(map(len, parts)) - limit
    if excess <= 0:
      return [parts]
    numbers = range(len(parts)) if may_shrink is None else may_shrink
    if self.too_long == 'drop':
      self.counts.dropped += 1
      return []
    if self.too_long == 'window':
      self.counts.windowed += 1
      return self._windows(parts, max(numbers, key=lambda i: len(parts[i])), limit)
    self.counts.truncated += 1
    sizes = _shrunk({i: len(parts[i]) for i in numbers}, excess)
    for i, size in sizes.items():
      part = parts[i]
      is_left = self.too_long == 'truncate_left'
      parts[i] = part[len(part) - size :] if is_left else part[:size]
    return [parts]

  def _windows(self, parts, which, limit):
    size = limit - sum(len(part) for i, part in enumerate(parts) if i != which)
    if size < 1:
      raise ConfigError(
        f'data.seq_len={self.max_tokens}: an example leaves no token for a window of'
        ' its longest text beside the others; raise it, or set task.too_long.'
      )
    text = parts[which]
    starts = [0]
    while starts[-1] + size < len(text):
      starts.append(starts[-1] + min(self.stride, size))
    return [
      [*parts[:which], text[start : start + size], *parts[which + 1 :]]
      for start in starts
    ]


def _shrunk(sizes, excess):
  """Returns {part: size} after `excess` tokens are taken from the longest parts."""
  sizes = dict(sizes)
  while excess > 0:
    longest = max(sizes, key=lambda i: sizes[i])
    others = [size for i, size in sizes.items() if i != longest]
    # Down to the next longest at once; at equal lengths, one by one.
    step = max(1, min(excess, sizes[longest] - max(others, default=0)))
    if sizes[longest] - step < 0:
      raise ConfigError(
        'data.seq_len: the fixed part of an example is longer than a row; raise it.'
      )
    sizes[longest] -= step
    excess -= step
  return sizes
