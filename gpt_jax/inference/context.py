"""What a model reads of a text that outgrows its learned positions: the last part."""

import math

import numpy as np


class Contexts:
  """The visible context of each row of a batch, as the texts grow.

  Positions of a table count from the context's begin. A text that has filled the table
  loses the older half of its context, which is read again from position 0: a forward
  pass over half a table for half a table of tokens. Where a context begins depends on
  its own text alone. Without a table (`table_len` inf) it begins with the text.
  """

  def __init__(self, prompts_ids, table_len=math.inf):
    self._texts = list(prompts_ids)
    self._prompt_lens = [len(ids) for ids in prompts_ids]
    self._table_len = table_len
    self._starts = [int(max(0, len(ids) - table_len)) for ids in prompts_ids]

  def read(self):
    """Returns (ids of each context, how many of them are of the prompt, int32 [B])."""
    pairs = zip(self._texts, self._starts, strict=True)
    contexts_ids = [ids[start:] for ids, start in pairs]
    pairs = zip(self._prompt_lens, self._starts, strict=True)
    prefix_B = np.array([max(0, length - start) for length, start in pairs], np.int32)
    return contexts_ids, prefix_B

  def free(self):
    """Returns how many tokens all rows can write before one has filled the table."""
    return self._table_len - max(self._lengths()) + 1

  def extend(self, ids_BC):
    """Takes the new ids of each row."""
    if self._table_len < math.inf:
      pairs = zip(self._texts, ids_BC, strict=True)
      self._texts = [np.concatenate([text, ids]) for text, ids in pairs]

  def crop(self):
    """Returns which rows had filled the table, bool [B]; they keep half of it."""
    is_full_B = np.array([length > self._table_len for length in self._lengths()])
    for i in np.flatnonzero(is_full_B):
      kept = int(max(1, self._table_len // 2))
      self._starts[i] = len(self._texts[i]) - kept
    return is_full_B

  def _lengths(self):
    # The last token counts, which the model has not read yet.
    pairs = zip(self._texts, self._starts, strict=True)
    return [len(ids) - start for ids, start in pairs]
