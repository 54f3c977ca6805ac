"""Packs texts that share their first tokens into rows, each shared token once."""

from typing import NamedTuple

import numpy as np

MIN_BUCKET = 16
SHORT_ROW = 256  # tokens


class Rows(NamedTuple):
  """Texts in rows of T tokens, and where their continuations are predicted."""

  tokens_BT: np.ndarray
  positions_BT: np.ndarray
  end_BT: np.ndarray
  """Row index after the subtree of each token, 0 for padding: `TreeMask`."""
  prefix_end_BT: np.ndarray
  pair_text_N: np.ndarray
  """The text of each predicted token, in the order of its tokens."""
  pair_place_N: np.ndarray
  """Flat index, row * T + t, of the token that predicts it."""
  target_N: np.ndarray

  def batches(self, size):
    """Yields Rows of `size` rows each, fewer in the last."""
    T = self.tokens_BT.shape[1]
    row_N = self.pair_place_N // T
    for first in range(0, len(self.tokens_BT), size):
      is_here_N = (first <= row_N) & (row_N < first + size)
      tokens_BT, positions_BT, end_BT, prefix_end_BT = (
        array_BT[first : first + size] for array_BT in self[:4]
      )
      text_N, place_N, target_N = (array_N[is_here_N] for array_N in self[4:])
      yield Rows(
        tokens_BT, positions_BT, end_BT, prefix_end_BT,
        text_N, place_N - first * T, target_N,
      )  # fmt: skip


def bucket(length):
  """Returns the power of two, 16 or more, that `length` is padded to."""
  return max(MIN_BUCKET, 1 << (int(length) - 1).bit_length())


def row_length(text_len):
  """Returns the tokens of the rows that a text of `text_len` is packed into.

  Short texts share rows, so that little of them stays empty, long ones that are
  about as long as they are: attention costs the square.
  """
  return max(SHORT_ROW, bucket(text_len))


def pack(texts_ids, context_lens, row_len, *, shares_contexts_only=False):
  """Returns the Rows of `texts_ids`, each read up to its last token but one.

  A text is a context, of `context_lens` tokens and at least one, and what is predicted
  after it. With `shares_contexts_only` (prefix LM: a context is read in both
  directions) two texts share tokens only where their contexts are the same.
  """

  def key(i):
    context = texts_ids[i][: context_lens[i]].tolist()
    ids = texts_ids[i][:-1].tolist()
    return (context, ids) if shares_contexts_only else ids

  builder, last = _Builder(row_len), None
  # In this order each text shares most with the one before it.
  for i in sorted(range(len(texts_ids)), key=key):
    ids, shared = texts_ids[i][:-1], 0
    if last is not None:
      before = texts_ids[last][:-1]
      shared = _shared_length(before, ids)
      context_len = context_lens[i]
      if shares_contexts_only and not (context_lens[last] == context_len <= shared):
        shared = 0
    builder.add(ids, shared, context_lens[i])
    builder.predict(i, texts_ids[i], context_lens[i])
    last = i
  return builder.finish()


def _shared_length(one, other):
  length = min(len(one), len(other))
  different = np.flatnonzero(one[:length] != other[:length])
  return int(different[0]) if len(different) else length


class _Builder:
  """Rows that fill up, text by text."""

  def __init__(self, row_len):
    self._row_len = row_len
    self._rows, self._pairs = [], []
    self._path = np.zeros(0, np.int64)  # row index of each token of the last text
    self._used = row_len  # no row yet

  def add(self, ids, shared, context_len):
    """Writes `ids`, of which the first `shared` are those of the text before."""
    if self._used + len(ids) - shared > self._row_len:
      self._close(0)
      self._rows.append(np.zeros((4, self._row_len), np.int32))
      self._used = shared = 0
    tokens, positions, _, prefix_end = self._rows[-1]
    self._close(shared)
    new = np.arange(self._used, self._used + len(ids) - shared)
    self._path = np.concatenate([self._path[:shared], new])
    self._used += len(new)
    tokens[new], positions[new] = ids[shared:], np.arange(shared, len(ids))
    context = self._path[:context_len]
    # Where contexts are shared whole or not at all, they lie in one piece.
    prefix_end[context] = context[-1] + 1

  def predict(self, i, ids, context_len):
    """Notes that tokens from `context_len` on are predicted, of the text just added."""
    places = (len(self._rows) - 1) * self._row_len + self._path[context_len - 1 :]
    targets = ids[context_len:]
    self._pairs.append((np.full(len(targets), i), places[: len(targets)], targets))

  def _close(self, shared):
    """Ends the subtrees of the last text's tokens from `shared` on."""
    if self._rows:
      self._rows[-1][2][self._path[shared:]] = self._used
    self._path = self._path[:shared]

  def finish(self):
    self._close(0)
    tokens_BT, positions_BT, end_BT, prefix_end_BT = np.stack(self._rows, axis=1)
    text_N, place_N, target_N = (
      np.concatenate(parts) for parts in zip(*self._pairs, strict=True)
    )
    return Rows(
      tokens_BT, positions_BT, end_BT, prefix_end_BT, text_N, place_N, target_N
    )
