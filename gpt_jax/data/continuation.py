"""Ids of a text that continues another one, in the middle of a word too."""

import itertools

import numpy as np

from gpt_jax.core.errors import DataError

# After one of these a tokenizer gives what follows the ids that it has inside a word.
_ANCHORS = ('.', '-', '\n', '1', 'x')
_LONGEST_ANCHOR = 16


def encode_pair(tokenizer, context, continuation):
  """Returns (ids of `context`, ids of `continuation` after it).

  Tokenized as one text if a token ends at the boundary. If none does, the ids of the
  continuation are such that both together decode to the text: no space, no beginning of
  a word comes between (SentencePiece and WordPiece would put one there). Where no ids
  of the continuation do that, its first word is taken whole.
  """
  context_ids = tokenizer.encode(context)
  text_ids = tokenizer.encode(context + continuation)
  rest = text_ids[len(context_ids) :]
  if np.array_equal(text_ids[: len(context_ids)], context_ids) and (
    len(rest) or not continuation
  ):
    return context_ids, rest
  text, alone = tokenizer.decode(text_ids), tokenizer.encode(continuation)
  anchored = _after_anchors(tokenizer, context, continuation)
  for ids in itertools.chain([alone], anchored):
    if len(ids) and tokenizer.decode([*context_ids, *ids]) == text:
      return context_ids, ids
  # The last token of the context says that a word ends there (suffixes of words): the
  # whole word counts as continuation.
  shared = np.minimum(len(context_ids), len(text_ids))
  same = context_ids[:shared] == text_ids[:shared]
  start = int(np.argmin(same)) if not same.all() else int(shared)
  return text_ids[:start], text_ids[start:]


def cut_contexts(pairs, max_tokens):
  """Returns [(context, continuation)] ids whose contexts lose the same first tokens.

  As many as bring the longest pair to `max_tokens`; one token of each context stays.
  """
  surplus = max((len(before) + len(ids) for before, ids in pairs), default=0)
  surplus = max(0, surplus - max_tokens)
  return [(before[min(surplus, len(before) - 1) :], ids) for before, ids in pairs]


def _after_anchors(tokenizer, context, continuation):
  """Yields ids of `continuation` after the end of `context`, and after anchors."""
  longest = min(len(context), _LONGEST_ANCHOR)
  anchors = [context[-n:] for n in range(1, longest + 1)]
  for anchor in (*anchors, *_ANCHORS):
    try:
      ((ids, num_bytes),) = tokenizer.encode_with_bytes([anchor + continuation])
    except DataError:  # an anchor that is no character of its vocabulary
      continue
    ends, size = np.cumsum(num_bytes), len(anchor.encode())
    if size in ends:
      yield ids[np.searchsorted(ends, size, 'left') + 1 :]
