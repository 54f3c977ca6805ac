"""Which beams go on and which texts are kept: the bookkeeping of beam search.

As transformers 5 does it for one prompt, so that texts and scores are equal: of the
`width` best continuations those that end are compared by log-probability over tokens **
length_penalty, the best of the others go on. Numbers are float32, as there.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_jax.inference.writing import WrittenText

_NEVER = np.float32(-1e9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSettings:
  """What a text of beams is searched by."""

  beams: int
  length_penalty: float = 1.0
  """Scores are log-probabilities / tokens ** this: above 0 favors longer texts."""
  early_stopping: Any = False
  """When it ends with `beams` texts ended. True: at once; False: when the best beam, as
  long as it is, scores below the worst of them; 'never': when it could not get better
  than that at its best length."""


class Beams:
  """The beams of one prompt."""

  def __init__(
    self,
    settings: BeamSettings,
    max_new_tokens: int,
    stop_ids: tuple,
    is_ended: Callable = lambda ids: False,
  ):
    """`is_ended(ids)`: whether a text ends with the last of them, but for stop ids."""
    self.settings, self._max_new = settings, max_new_tokens
    self._stop_ids, self._is_ended = frozenset(stop_ids), is_ended
    self.ids: list[list[int]] = [[] for _ in range(settings.beams)]
    """What each beam has written."""
    self.scores = np.full(settings.beams, _NEVER)
    self.scores[0] = 0  # all begin alike: only one may be continued
    self._ended: list[tuple[np.float32, list[int], str]] = []
    self._can_improve = True
    self.is_over = False

  @property
  def width(self):
    """How many continuations `advance` chooses from, enough for all beams to go on."""
    return self.settings.beams * max(2, 1 + len(self._stop_ids))

  def advance(self, score_W, beam_W, token_W):
    """Takes the best continuations, descending: their scores, beams and tokens.

    Returns int32 [beams] twice: the beam that each one goes on from, and its token.
    """
    K = self.settings.beams
    ids = [
      [*self.ids[b], int(t)] for b, t in zip(beam_W, token_W, strict=True)
    ]  # fmt: skip
    finish = [self._finish(each) for each in ids]
    ends_W = np.array([reason is not None for reason in finish])
    self._keep_ended(score_W[:K], ids, finish)
    running_W = np.where(ends_W, score_W + _NEVER, score_W)
    chosen_K = np.argsort(-running_W, kind='stable')[:K]
    self.ids = [ids[i] for i in chosen_K]
    self.scores = running_W[chosen_K].astype(np.float32)
    self._update_is_over(ends_W)
    return beam_W[chosen_K].astype(np.int32), token_W[chosen_K].astype(np.int32)

  def results(self, n):
    """Returns the best n (WrittenText, score)."""
    found = self._ended
    if not found:  # nothing was allowed before any text had ended
      found = [(self.scores[0] / self._norm(len(self.ids[0])), self.ids[0], 'dead_end')]
    return [
      (WrittenText(np.array(ids, np.int32), reason), float(score))
      for score, ids, reason in found[:n]
    ]

  def _finish(self, ids):
    """Returns why a text ends with the last of `ids`, None where it goes on."""
    if ids[-1] in self._stop_ids:
      return 'stop'
    if self._is_ended(ids):
      return 'stop'
    return 'length' if len(ids) == self._max_new else None

  def _norm(self, length):
    return np.float32(max(1, length) ** self.settings.length_penalty)

  def _keep_ended(self, score_K, ids, finish):
    is_full = len(self._ended) == self.settings.beams
    if not self._can_improve or (is_full and self.settings.early_stopping is True):
      return
    for i, score in enumerate(score_K):
      if finish[i] is not None and np.isfinite(score):
        text = ids[i][:-1] if ids[i][-1] in self._stop_ids else ids[i]
        self._ended.append((score / self._norm(len(ids[i])), text, finish[i]))
    self._ended.sort(key=lambda each: -each[0])  # stable: of equal ones the earlier
    del self._ended[self.settings.beams :]

  def _update_is_over(self, ends_W):
    settings, length = self.settings, len(self.ids[0])
    is_full = len(self._ended) == settings.beams
    best_length = length
    if settings.early_stopping == 'never' and settings.length_penalty > 0:
      best_length = self._max_new
    best = self.scores[0] / self._norm(best_length)
    self._can_improve &= not is_full or bool(best > self._ended[-1][0])
    has_enough = is_full and settings.early_stopping is True
    is_stuck = ends_W.all() or not np.isfinite(self.scores[0])
    self.is_over = not self._can_improve or has_enough or bool(is_stuck)
