"""What was written after a prompt, with all that can be said of it."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class TokenLogProb:
  """One token of a text; log-probabilities in nats, None for the first of all."""

  id: int
  text: str
  log_prob: float | None
  top: tuple['TokenLogProb', ...] = ()
  """The likeliest tokens there, descending."""

  def to_dict(self):
    found: dict[str, Any] = {'id': self.id, 'text': self.text}
    found['logprob'] = self.log_prob
    if self.top:
      found['top'] = [each.to_dict() for each in self.top]
    return found


@dataclasses.dataclass(frozen=True)
class Completion:
  """One text of a prompt."""

  text: str
  """Up to and without a stop string; with the prompt in front where echo was asked."""
  ids: Any
  """int32 [n], what was written: without a stop id, but with the tokens that hold a
  stop string."""
  finish_reason: str
  """'stop': the end token or a stop string; 'length': max_new_tokens; 'dead_end': every
  token would have completed a banned string or broken a grammar."""
  seed: int
  log_probs: tuple[TokenLogProb, ...] | None = None
  """Of each of `ids`, where logprobs was asked; with echo, of the prompt before."""
  score: float | None = None
  """Log-probability per token of best_of, end token included; of beams, with their
  length penalty."""

  def to_dict(self):
    """Returns it as JSON has it."""
    found: dict[str, Any] = {
      'text': self.text,
      'ids': [int(i) for i in self.ids],
      'finish_reason': self.finish_reason,
      'seed': self.seed,
    }
    if self.score is not None:
      found['score'] = self.score
    if self.log_probs is not None:
      found['logprobs'] = [each.to_dict() for each in self.log_probs]
    return found


def token_log_probs(tokenizer, ids, log_probs, start=0):
  """Returns a TokenLogProb for each of `ids` from the numpy LogProbs of them.

  `start`: how many of the first have none, since nothing was before them.
  """
  found = [_token(tokenizer, i, None) for i in ids[:start]]
  rest = zip(
    ids[start:], log_probs.written, log_probs.top, log_probs.top_id, strict=True
  )
  for token_id, written, top_K, top_id_K in rest:
    pairs = zip(top_id_K, top_K, strict=True)
    top = tuple(_token(tokenizer, i, x) for i, x in pairs if x > -float('inf'))
    found.append(_token(tokenizer, token_id, written, top))
  return tuple(found)


def _token(tokenizer, token_id, log_prob, top=()):
  value = None if log_prob is None else float(log_prob)
  # The objective's own tokens stand for no text.
  text = tokenizer.decode([token_id]) if token_id < tokenizer.vocab_size else ''
  return TokenLogProb(int(token_id), text, value, top)
