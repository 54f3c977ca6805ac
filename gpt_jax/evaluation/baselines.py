"""What a model has to beat: count tables and compressors on the same split.

Every row is a figure for the evaluation text that a reader with no neural network
reaches from the training text alone. The n-gram tables see the tokens that the model
sees; the compressors see the bytes. In bits per byte all of them compare.

The n-gram estimator is interpolated modified Kneser-Ney (Chen & Goodman 1998, TR-10-98,
section 3.3). The highest order uses plain counts; an order below it counts in how many
different contexts a gram was seen. From each count c the discount D1, D2 or D3+ of its
order (eq. 26) is taken away, and what is gained that way goes to the next shorter
context, down to the uniform distribution over the vocabulary.
"""

import bz2
import dataclasses
import lzma
import math

import numpy as np

BZ2_REACH_BYTES = 850_000
"""bzip2 sorts blocks of 900 kB one by one, so text further back is no help. A block is
measured after its run-length code, which lengthens runs of four: hence the margin."""

XZ_REACH_BYTES = 64 * 2**20
"""The window of xz at its highest preset; memory is about eleven times the window."""


@dataclasses.dataclass(frozen=True)
class Row:
  """One baseline: nats per token and bits per byte of the evaluation text."""

  name: str
  nats_per_token: float
  bits_per_byte: float
  """inf where tokens stand for no text (synthetic languages)."""


def best(rows):
  """Returns the row with the fewest bits per byte."""
  return min(rows, key=lambda row: row.bits_per_byte)


def ngram_table(train_tokens, eval_tokens, vocab_size, *, bytes_in_eval, max_order=8):
  """Returns the rows `uniform`, `1-gram`, ... up to `max_order`, in this order.

  Tokens are 1-D arrays of ids below `vocab_size`; `bytes_in_eval` is the size of the
  text that `eval_tokens` encode.
  """
  nats_ON = ngram_nats(train_tokens, eval_tokens, vocab_size, max_order=max_order)
  names = ['uniform'] + [f'{order}-gram' for order in range(1, max_order + 1)]
  return [
    _row(name, float(nats_N.sum()), nats_N.size, bytes_in_eval)
    for name, nats_N in zip(names, nats_ON, strict=True)
  ]


def compressor_table(train_bytes, eval_bytes, *, num_eval_tokens):
  """Returns the rows `bz2` and `xz`: what `eval_bytes` cost after `train_bytes`.

  The cost is size(context + eval) - size(context), in the real formats. The context is
  the last part of the training text that the compressor can reach back to from the
  end of the evaluation text: all of it for xz, as a rule; for bz2 what fits into one
  block with the evaluation text, and none when that fills a block by itself.
  """
  costs = {
    'bz2': _added_bytes(bz2.compress, train_bytes, eval_bytes, BZ2_REACH_BYTES),
    'xz': _added_bytes(_xz, train_bytes, eval_bytes, XZ_REACH_BYTES),
  }
  return [
    _row(name, 8 * math.log(2) * added, num_eval_tokens, len(eval_bytes))
    for name, added in costs.items()
  ]


def ngram_nats(train_tokens, eval_tokens, vocab_size, *, max_order=8):
  """Returns `nats_ON`: -log p of each evaluation token, by order 0 (uniform) and up.

  A token near the start, with fewer tokens before it than its order wants, is read by
  the highest order that it has. Counts come from `train_tokens` only.
  """
  train_N = np.asarray(train_tokens, np.int64)
  eval_N = np.asarray(eval_tokens, np.int64)
  _check(train_N, eval_N, vocab_size, max_order)
  orders = _index_grams(train_N, eval_N, vocab_size, max_order)
  lower_N = np.full(eval_N.size, 1.0 / vocab_size)
  nats = [-np.log(lower_N)]
  for order, grams in enumerate(orders, start=1):
    # As the highest order of its own row this order uses plain counts ...
    nats.append(-np.log(_interpolate(grams, grams.counts(), lower_N, order)))
    if order < len(orders):
      # ... and as a lower order of the rows to come, counts of different contexts.
      spread = grams.contexts(orders[order])
      lower_N = _interpolate(grams, spread, lower_N, order)
  return np.stack(nats)


@dataclasses.dataclass(frozen=True)
class _Grams:
  """All grams of one order, numbered; the training text's come first in `ids`."""

  ids: np.ndarray  # the gram that ends at each position
  prefix: np.ndarray  # of each gram: the number of all but its last token
  first: np.ndarray  # of each gram: the first position in `ids` where it stands
  num_train: int  # how many of the positions are the training text's

  def counts(self):
    """Returns how often each gram stands in the training text."""
    return np.bincount(self.ids[: self.num_train], minlength=self.prefix.size)

  def contexts(self, longer):
    """Returns after how many different tokens each gram stands in the training text.

    `longer` are the grams of the next order. One of them that was trained on has its
    first position in the training text, and there the gram it ends in is looked up.
    """
    ends = longer.first[longer.first < longer.num_train]
    # The next order has no gram at the first position of the training text.
    return np.bincount(self.ids[ends + 1], minlength=self.prefix.size)


def _index_grams(train_N, eval_N, vocab_size, max_order):
  """Returns `_Grams` of each order that both texts are long enough for.

  A gram is the pair (number of the gram before, token), packed into one integer, so
  that an order costs one sort of the text.
  """
  orders = []
  train_ids, eval_ids = np.zeros_like(train_N), np.zeros_like(eval_N)
  for order in range(1, max_order + 1):
    tail_train, tail_eval = train_N[order - 1 :], eval_N[order - 1 :]
    keys = np.concatenate(
      [
        train_ids[: tail_train.size] * vocab_size + tail_train,
        eval_ids[: tail_eval.size] * vocab_size + tail_eval,
      ]
    )
    unique, first, ids = np.unique(keys, return_index=True, return_inverse=True)
    orders.append(_Grams(ids, unique // vocab_size, first, tail_train.size))
    train_ids, eval_ids = ids[: tail_train.size], ids[tail_train.size :]
  return orders


def _interpolate(grams, count, lower_N, order):
  """Returns p of each evaluation token from discounted `count` and `lower_N`.

  p(w | h) = (c(hw) - D) / c(h) + gamma(h) lower(w), with gamma(h) the share that the
  discounts took from h. After a context that was never seen, p is `lower`.
  """
  num_contexts = int(grams.prefix.max()) + 1
  removed = _discounts(count)[np.minimum(count, 3)]
  total = np.bincount(grams.prefix, weights=count, minlength=num_contexts)
  freed = np.bincount(grams.prefix, weights=removed, minlength=num_contexts)
  eval_ids = grams.ids[grams.num_train :]
  contexts = grams.prefix[eval_ids]
  seen = total[contexts] > 0
  kept = (count - removed)[eval_ids] + freed[contexts] * lower_N[order - 1 :]
  probability_N = lower_N.copy()
  probability_N[order - 1 :][seen] = kept[seen] / total[contexts][seen]
  return probability_N


def _discounts(count):
  """Returns D for counts 0, 1, 2 and >= 3 of one order (Chen & Goodman, eq. 26).

  Where a text is too small or too regular for the estimate, D is 1/2, 1, 3/2: every
  order must keep some of its mass free, or an unseen token would cost infinity.
  """
  n = np.bincount(np.minimum(count, 5), minlength=6).astype(float)
  result = np.array([0.0, 0.5, 1.0, 1.5])
  if n[1] and n[2]:
    share = n[1] / (n[1] + 2 * n[2])
    for c in (1, 2, 3):
      if n[c] and n[c + 1]:
        estimate = c - (c + 1) * share * n[c + 1] / n[c]
        if 0.0 < estimate <= c:
          result[c] = estimate
  return result


def _check(train_N, eval_N, vocab_size, max_order):
  """Raises ValueError for texts that no table can be made of."""
  if max_order < 1:
    raise ValueError(f'max_order={max_order}: expected at least 1.')
  for name, tokens_N in (('train_tokens', train_N), ('eval_tokens', eval_N)):
    if tokens_N.ndim != 1 or tokens_N.size < max_order:
      raise ValueError(
        f'{name} has shape {tokens_N.shape}: expected one dimension and at least'
        f' max_order={max_order} tokens.'
      )
    if tokens_N.min() < 0 or tokens_N.max() >= vocab_size:
      raise ValueError(
        f'{name} holds ids from {tokens_N.min()} to {tokens_N.max()}: expected'
        f' 0 <= id < vocab_size={vocab_size}.'
      )


def _row(name, nats, num_tokens, num_bytes):
  """Returns a `Row` from the cost of the whole text in nats."""
  return Row(
    name, nats / num_tokens, nats / math.log(2) / num_bytes if num_bytes else math.inf
  )


def _added_bytes(compress, train_bytes, eval_bytes, reach_bytes):
  """Returns by how much `eval_bytes` lengthen the compressed text within reach."""
  room = max(0, reach_bytes - len(eval_bytes))
  context = train_bytes[max(0, len(train_bytes) - room) :]
  without = len(compress(context)) if context else 0
  return len(compress(context + eval_bytes)) - without


def _xz(text):
  """Returns `text` in xz format, with a window no larger than the text needs."""
  window = min(max(len(text), 4096), XZ_REACH_BYTES)
  filters = [{'id': lzma.FILTER_LZMA2, 'preset': 9, 'dict_size': window}]
  return lzma.compress(text, filters=filters)
