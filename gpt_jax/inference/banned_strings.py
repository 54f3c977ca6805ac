"""Banned strings never come about, in whatever tokens they could be spelled.

The strings are an automaton over bytes (Aho and Corasick 1975); a token may not come
next if its bytes lead to the end of a string from where the text, prompt included, is.
"""

import dataclasses
import functools

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizer import Tokenizer
from gpt_jax.inference.token_pieces import token_pieces


@dataclasses.dataclass(frozen=True)
class BannedStrings:
  """A GuideMaker: allows no token that would complete one of `strings`."""

  strings: tuple[str, ...]
  tokenizer: Tokenizer

  def start(self, prompt_ids):
    state = 0
    for token_id in prompt_ids:
      state = self.step(state, int(token_id))
    return _Follower(self, state)

  def step(self, state, token_id):
    """Returns the state after one more token."""
    if token_id < len(self._pieces.bytes):  # the objective's own tokens are no text
      for byte in self._pieces.bytes[token_id]:
        state = self._automaton.next[state, byte]
    return int(state)

  def allowed(self, state):
    """Returns which ids may follow, uint32 [W]; kept for each state."""
    if state not in self._masks:
      self._masks[state] = self._mask(state)
    return self._masks[state]

  def _mask(self, state):
    pieces, automaton = self._pieces, self._automaton
    state_V = np.full(len(pieces.bytes), state)
    is_banned_V = np.zeros(len(pieces.bytes), bool)
    # Longest pieces first: those with a byte at position i are the first ones.
    for i, count in enumerate(pieces.counts):
      state_V[:count] = automaton.next[state_V[:count], pieces.byte_at[i]]
      is_banned_V[:count] |= automaton.is_end[state_V[:count]]
    allowed_V = np.ones(len(pieces.bytes), bool)
    allowed_V[pieces.order] = ~is_banned_V
    padded_V = np.pad(allowed_V, (0, -len(allowed_V) % 32))
    return np.packbits(padded_V, bitorder='little').view('<u4')

  @functools.cached_property
  def _masks(self):
    return {}

  @functools.cached_property
  def _automaton(self):
    return Automaton([string.encode() for string in self.strings])

  @functools.cached_property
  def _pieces(self):
    return _pieces(self.tokenizer)


class _Follower:
  masks = True

  def __init__(self, maker, state):
    self._maker, self._state = maker, state

  def allowed(self):
    return self._maker.allowed(self._state)

  def take(self, token_id):
    self._state = self._maker.step(self._state, token_id)
    return False


class Automaton:
  """Where strings of bytes end in a longer one, read byte by byte."""

  def __init__(self, strings):
    children, ends = [{}], [False]
    for string in strings:
      state = 0
      for byte in string:
        if byte not in children[state]:
          children.append({})
          ends.append(False)
          children[state][byte] = len(children) - 1
        state = children[state][byte]
      ends[state] = True
    self.next = np.zeros((len(children), 256), np.int32)
    """State and byte -> state: the longest beginning of a string that ends here."""
    self.is_end = np.array(ends)
    shorter = np.zeros(len(children), np.int32)
    queue = [0]
    for state in queue:  # grows: states by length
      if state:
        self.next[state] = self.next[shorter[state]]
        self.is_end[state] |= self.is_end[shorter[state]]
      for byte, child in children[state].items():
        shorter[child] = self.next[state, byte] if state else 0
        self.next[state, byte] = child
        queue.append(child)


@dataclasses.dataclass(frozen=True)
class _Pieces:
  bytes: list
  order: np.ndarray
  """Ids, those with the longest pieces first."""
  counts: list
  """How many pieces have a byte at each position."""
  byte_at: list
  """Of each position, the bytes of those pieces in that order."""


@functools.lru_cache(maxsize=4)
def _pieces(tokenizer):
  pieces = token_pieces(tokenizer)
  if pieces is None:
    raise ConfigError(
      f'banned: what a token of the {tokenizer.name} tokenizer adds to a text depends'
      ' on more than its neighbors; rule tokens out with logit_bias.'
    )
  lengths = np.array([len(piece) for piece in pieces])
  order = np.argsort(-lengths, kind='stable')
  counts, byte_at = [], []
  for i in range(lengths.max(initial=0)):
    longer = order[lengths[order] > i]
    counts.append(len(longer))
    byte_at.append(np.array([pieces[j][i] for j in longer], np.uint8))
  return _Pieces(pieces, order, counts, byte_at)
