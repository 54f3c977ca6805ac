"""A source whose documents have all that objectives with a task head read."""

import numpy as np

from gpt_jax.data.source import Source
from gpt_jax.objectives import regression, reward

HALF = 7  # tokens of each text of a pair


class Rows(Source):
  """Documents of two texts, of ids 0 to 2 and a single 3.

  That is the answer, and the text which has it is preferred; the number is that of 1s
  in the first text.
  """

  fields = ('labels', 'numbers', 'sides', 'can_answer', 'starts', 'ends')
  vocab_size = 4

  def __init__(self, data):
    del data
    self.fingerprint = {'source': 'rows of fields', 'split': 'all'}

  def __len__(self):
    return 64

  def __getitem__(self, i):
    rng = np.random.default_rng(i)
    tokens = rng.integers(0, 3, 2 * HALF)
    chosen = rng.integers(2)
    tokens[chosen * HALF + rng.integers(HALF - 1)] = 3  # the last one is not read
    text = np.arange(2 * HALF) // HALF
    is_last = np.arange(2 * HALF) % HALF == HALF - 1
    number = regression.bits((tokens[: HALF - 1] == 1).sum())
    return dict(
      tokens=tokens,
      labels=np.where(is_last, text == chosen, -1),
      numbers=np.full(2 * HALF, number),
      sides=np.where(text == chosen, reward.CHOSEN, reward.REJECTED),
      can_answer=np.ones_like(tokens),
      starts=(tokens == 3).astype(np.int32),
      ends=(tokens == 3).astype(np.int32),
    )
