"""Stop strings end a text, whatever tokens spell them, and are never shown."""

import dataclasses

from gpt_jax.data.stream_decoder import StreamDecoder
from gpt_jax.data.tokenizer import Tokenizer


class StopFilter:
  """Passes text on up to the first stop string, in pieces that hold no part of one."""

  def __init__(self, strings):
    self._strings = strings
    self._held = ''
    self.is_over = False

  def push(self, piece):
    """Returns what can be shown for certain, perhaps ''; '' after a stop string."""
    if self.is_over:
      return ''
    text = self._held + piece
    # The one that ends first counts: which one that is depends on no token borders.
    found = [(at + len(s), at) for s in self._strings if (at := text.find(s)) >= 0]
    if found:
      self.is_over, self._held = True, ''
      return text[: min(found)[1]]
    held = max((_overlap(text, s) for s in self._strings), default=0)
    shown = len(text) - held
    self._held = text[shown:]
    return text[:shown]

  def finish(self):
    """Returns what was held back, as no stop string came of it."""
    held, self._held = self._held, ''
    return held


def _overlap(text, string):
  """Returns how many characters at the end of `text` begin `string`."""
  longest = min(len(text), len(string) - 1)
  return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)


@dataclasses.dataclass(frozen=True)
class StopStrings:
  """A GuideMaker: ends a text after the token that completes one of `strings`."""

  strings: tuple[str, ...]
  tokenizer: Tokenizer

  def start(self, prompt_ids):
    return _Follower(self, prompt_ids)


class _Follower:
  masks = False

  def __init__(self, maker, prompt_ids):
    self._decoder = StreamDecoder(maker.tokenizer, prompt_ids)
    self._filter = StopFilter(maker.strings)

  def take(self, token_id):
    self._filter.push(self._decoder.push(token_id))
    return self._filter.is_over
