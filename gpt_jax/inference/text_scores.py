"""How likely texts are: what a TextGenerator knows of texts that it did not write."""

import itertools
import math
from typing import Any

import numpy as np

from gpt_jax.data.continuation import cut_contexts, encode_pair
from gpt_jax.inference import scoring
from gpt_jax.inference.text_options import texts_of


class TextScores:
  """Scores of texts by an `engine` behind a `_tokenizer`; `_begun` begins their ids."""

  engine: Any
  _tokenizer: Any
  _begun: Any

  def score(self, context, continuation, adapter=None):
    """Returns the log-likelihood of `continuation` after `context`, in nats.

    `data/continuation.py` says which ids that is where they meet within a word.
    """
    texts_of([context, continuation])
    context_ids, ids = encode_pair(self._tokenizer, context, continuation)
    return self.engine.score(self._begun(context_ids), ids, adapter)

  def score_many(
    self, items, advance=lambda count: None, truncate=False, max_tokens=None,
    adapter=None,
  ):  # fmt: skip
    """Returns the Scores of `[(context, [continuation, ...]), ...]`, lists as given.

    Ids are those of `score`; `advance` as `Engine.score_many` takes it. `truncate`:
    a context loses its first tokens where positions end, instead of an error.
    `max_tokens`: it loses them beyond so many, the longest continuation included, so
    that all of an item follow the same context. `adapter`: one of the engine's, of all.
    """
    most = self.engine.table_len + 1 if truncate else math.inf
    most = min(most, max_tokens or math.inf)
    groups, places = [], []  # of an engine's items, and the groups of each of ours
    for context, continuations in items:
      texts_of([context, *continuations])
      places.append(len(groups))
      pairs = [encode_pair(self._tokenizer, context, one) for one in continuations]
      pairs = [(self._begun(before), ids) for before, ids in pairs]
      groups += [(before, [ids]) for before, ids in cut_contexts(pairs, most)]
    found = self.engine.score_many(groups, advance, adapter)
    scores = [score for (score,) in found]
    ends = [*places[1:], len(scores)]
    return [scores[start:end] for start, end in zip(places, ends, strict=True)]

  def score_texts(self, texts, advance=lambda count: None, adapter=None):
    """Returns a Score for each whole text, each of its tokens predicted once.

    What is longer than the model was made for is read in windows, one after another,
    the last one with a full window of context: the harness's rolling log-likelihood.
    """
    longest = int(min(self.engine.table_len, self.engine.cfg.max_seq_len))
    groups, counts = [], []
    for text in texts_of(texts):
      ids = self._tokenizer.encode(text)
      begun = np.concatenate([self._begun([])[-1:], ids]).astype(np.int32)
      ends = [min(start + longest, len(ids)) for start in range(0, len(ids), longest)]
      for start, end in zip([0, *ends], ends, strict=False):
        context = begun[max(0, end - longest) : start + 1]
        groups.append((context, [ids[start:end]]))
      counts.append(len(ends))
    found = self.engine.score_many(groups, advance, adapter)
    scores = iter([score for (score,) in found])
    return [scoring.total(itertools.islice(scores, count)) for count in counts]
