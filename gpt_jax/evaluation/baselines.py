"""Baselines without a neural network: n-gram models and compressors, on the same split.

The n-gram models read the tokens that the model reads, the compressors read bytes; bits
per byte compare all. The estimator is interpolated modified Kneser-Ney (Chen & Goodman
1998, TR-10-98, section 3.3), down to the uniform distribution over the vocabulary.
"""

import bz2
import dataclasses
import lzma
import math

import numpy as np

# bzip2 sorts blocks of 900 kB one by one, so text further back does not help. A block
# is measured after run-length coding, which lengthens runs of four: hence the margin.
BZ2_REACH_BYTES = 850_000
# The window of xz at its highest preset; memory is about eleven times the window.
XZ_REACH_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Baseline:
  """What the evaluation text costs under one predictor."""

  name: str
  nats_per_token: float
  bits_per_byte: float  # inf where tokens stand for no text (synthetic languages)


def _silent(items, label, total):
  return items


def ngram_baselines(
  train_tokens, eval_tokens, vocab_size, *, bytes_in_eval, max_order=8, progress=_silent
):
  """Returns the Baselines `uniform`, `1-gram`, ... up to `max_order`, in this order.

  `progress`: `(orders, label, how many) -> orders`, for the screen.
  """
  nats_ON = ngram_nats(
    train_tokens, eval_tokens, vocab_size, max_order=max_order, progress=progress
  )
  names = ['uniform'] + [f'{order}-gram' for order in range(1, max_order + 1)]
  return [
    _baseline(name, float(nats_N.sum()), nats_N.size, bytes_in_eval)
    for name, nats_N in zip(names, nats_ON, strict=True)
  ]


def compressor_baselines(
  train_bytes, eval_bytes, *, num_eval_tokens, bytes_in_eval=None
):
  """Returns the Baselines `bz2` and `xz`: size(context + eval) - size(context).

  The context is the end of the training text, as far as the compressor can refer back:
  all of it for xz, as a rule; for bz2 what fits into one block with the evaluation
  text, none when that fills a block by itself. `bytes_in_eval` is for texts that are
  shorter than what they stand for, as decoded tokens may be; None: `len(eval_bytes)`.
  """
  if bytes_in_eval is None:
    bytes_in_eval = len(eval_bytes)
  costs = {
    'bz2': _added_bytes(bz2.compress, train_bytes, eval_bytes, BZ2_REACH_BYTES),
    'xz': _added_bytes(_xz, train_bytes, eval_bytes, XZ_REACH_BYTES),
  }
  return [
    _baseline(name, 8 * math.log(2) * added, num_eval_tokens, bytes_in_eval)
    for name, added in costs.items()
  ]


def ngram_nats(train_tokens, eval_tokens, vocab_size, *, max_order=8, progress=_silent):
  """Returns `nats_ON`: -log p of each evaluation token, by order 0 (uniform) and up.

  Counts are those of `train_tokens` alone. A token near the start of the evaluation
  text is predicted by the highest order that its context allows.
  """
  train_N = np.asarray(train_tokens, np.int64)
  eval_N = np.asarray(eval_tokens, np.int64)
  _check(train_N, eval_N, vocab_size, max_order)
  lower_N = np.full(eval_N.size, 1.0 / vocab_size)
  nats, shorter = [-np.log(lower_N)], None
  grams_by_order = _index_grams(train_N, eval_N, vocab_size, max_order)
  grams_by_order = progress(grams_by_order, 'n-grams, orders', max_order)
  for order, grams in enumerate(grams_by_order, start=1):
    if shorter is not None:
      # As a lower order of longer models, an order counts different contexts ...
      lower_N = _interpolate(shorter, shorter.contexts(grams), lower_N, order - 1)
    # ... and as the highest order of its own model, occurrences.
    nats.append(-np.log(_interpolate(grams, grams.counts(), lower_N, order)))
    shorter = grams
  return np.stack(nats)


@dataclasses.dataclass(frozen=True)
class _Grams:
  """All n-grams of one order, numbered; those of the training text come first."""

  ids: np.ndarray  # the n-gram that ends at each position
  prefix: np.ndarray  # of each n-gram: the number of all but its last token
  first: np.ndarray  # of each n-gram: its first position in `ids`
  num_train: int  # how many of the positions are the training text's

  def counts(self):
    """Returns how often each n-gram occurs in the training text."""
    return np.bincount(self.ids[: self.num_train], minlength=self.prefix.size)

  def contexts(self, longer):
    """Returns how many different tokens precede each n-gram in the training text."""
    # Each of the `longer` n-grams (of the next order) that the training text has stands
    # for one preceding token: look up the n-gram that it ends in, where it is first.
    ends = longer.first[longer.first < longer.num_train]
    # + 1: the next order has no n-gram at the first position of the training text.
    return np.bincount(self.ids[ends + 1], minlength=self.prefix.size)


def _index_grams(train_N, eval_N, vocab_size, max_order):
  """Yields the `_Grams` of each order; memory is that of two."""
  # An n-gram is the pair (number of its prefix, token), packed into one integer, so
  # that an order costs one sort of the text.
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
    del keys
    # Half the memory of 64 bits; the keys alone need those.
    first, ids = first.astype(np.int32), ids.astype(np.int32)
    prefix = (unique // vocab_size).astype(np.int32)
    yield _Grams(ids, prefix, first, tail_train.size)
    train_ids = ids[: tail_train.size].astype(np.int64)
    eval_ids = ids[tail_train.size :].astype(np.int64)


def _interpolate(grams, count, lower_N, order):
  """Returns p of each evaluation token from discounted `count` and `lower_N`.

  p(w | h) = (c(hw) - D) / c(h) + gamma(h) lower(w), with gamma(h) the fraction that was
  discounted from h. After an unseen context, p is `lower`.
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
  """Returns D for counts 0, 1, 2 and >= 3 of one order (Chen & Goodman, eq. 26)."""
  # Where a text is too small or too regular for the estimate, D is 1/2, 1, 3/2: every
  # order must discount some of its mass, or an unseen token would cost infinity.
  n = np.bincount(np.minimum(count, 5), minlength=6).astype(float)
  result = np.array([0.0, 0.5, 1.0, 1.5])
  if n[1] and n[2]:
    y = n[1] / (n[1] + 2 * n[2])
    for c in (1, 2, 3):
      if n[c] and n[c + 1]:
        estimate = c - (c + 1) * y * n[c + 1] / n[c]
        if 0.0 < estimate <= c:
          result[c] = estimate
  return result


def _check(train_N, eval_N, vocab_size, max_order):
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


def _baseline(name, nats, num_tokens, num_bytes):
  bits_per_byte = nats / math.log(2) / num_bytes if num_bytes else math.inf
  return Baseline(name, nats / num_tokens, bits_per_byte)


def _added_bytes(compress, train_bytes, eval_bytes, reach_bytes):
  """Returns by how much `eval_bytes` lengthen the compressed text within reach."""
  context_bytes = max(0, reach_bytes - len(eval_bytes))
  context = train_bytes[max(0, len(train_bytes) - context_bytes) :]
  without = len(compress(context)) if context else 0
  return len(compress(context + eval_bytes)) - without


def _xz(text):
  window = min(max(len(text), 4096), XZ_REACH_BYTES)
  filters = [{'id': lzma.FILTER_LZMA2, 'preset': 9, 'dict_size': window}]
  return lzma.compress(text, filters=filters)
