"""One text while it is written, on the host: its tokens so far, and where it ends."""

import dataclasses
from typing import Any

import numpy as np

from gpt_jax.inference.guide import ALL, Guides
from gpt_jax.inference.token_log_probs import LogProbs


@dataclasses.dataclass(frozen=True)
class WrittenText:
  """What a Request was answered with."""

  ids: Any
  """int32 [n], without a stop id."""
  finish: str
  """'stop': by a stop id, or a guide; 'length': by max_new_tokens; 'dead_end': a guide
  allowed no token."""
  mean_log_prob: float = 0.0
  """In nats, of a token, a stop id included; 0 unless log_probs were asked."""
  log_probs: LogProbs | None = None
  """numpy arrays [n], and [n, K] for K as asked; None unless asked."""


class Writing:
  """Takes the new tokens of one Request until it ends."""

  def __init__(self, request):
    self.request = request
    self.ids = []
    self.finish = 'length' if request.max_new_tokens == 0 else None
    self.error = None
    """What one of its guides raised; the text is over then, with `finish` 'failed'."""
    self.log_probs = []
    """LogProbs [n] of its tokens, part by part, where they were asked."""
    self._read = []  # log-probabilities with that of a stop id
    self._guides = Guides(request.guides, request.prompt_ids)

  @property
  def masks(self):
    """Whether `allowed` has to be asked before the next token."""
    return self.finish is None and self._guides.masks

  def allowed(self):
    """Returns the mask of the next token, uint32 [W]; the text ends if it is empty."""
    try:
      allowed_W = self._guides.allowed()
    except BaseException as error:  # of this text alone: others go on
      return self._fail(error)
    if not allowed_W.any():
      self.finish = 'dead_end'
    return allowed_W

  def take(self, ids_C, log_probs=None):
    """Takes tokens, and their LogProbs [C]; what follows the end is dropped."""
    request, before, read = self.request, len(self.ids), 0
    for token_id in map(int, ids_C):
      if self.finish is not None:
        break
      read += 1
      if token_id in request.stop_ids:
        self.finish = 'stop'
        break
      self.ids.append(token_id)
      if self._ends_with(token_id):
        self.finish = self.finish or 'stop'
      elif len(self.ids) == request.max_new_tokens:
        self.finish = 'length'
    if request.log_probs is not None and log_probs is not None:
      new, k = len(self.ids) - before, request.log_probs
      self.log_probs.append(log_probs.cut(k, stop=new))
      self._read.extend(log_probs.written[:read].tolist())

  def _ends_with(self, token_id):
    try:
      return self._guides.take(token_id)
    except BaseException as error:
      self._fail(error)
      return True

  def _fail(self, error):
    # A panic of a package in Rust is no Exception.
    if isinstance(error, KeyboardInterrupt | SystemExit):
      raise error
    self.finish, self.error = 'failed', error
    return np.array([ALL])

  def result(self):
    """Returns the WrittenText so far; raises what one of its guides has."""
    if self.error is not None:
      raise self.error
    log_probs, mean = None, 0.0
    if self.request.log_probs is not None:
      empty = LogProbs(
        np.zeros(0, np.float32),
        np.zeros((0, self.request.log_probs), np.float32),
        np.zeros((0, self.request.log_probs), np.int32),
      )
      mean = sum(self._read) / max(1, len(self._read))
      parts = [empty, *self.log_probs]
      log_probs = LogProbs(
        *(
          np.concatenate([getattr(part, name) for part in parts])
          for name in ('written', 'top', 'top_id')
        )
      )
    ids = np.array(self.ids, np.int32)
    return WrittenText(ids, self.finish or 'length', mean, log_probs)
