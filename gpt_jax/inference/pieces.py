"""The text of ids that come one at a time, in whole characters, to a stop string."""

from gpt_jax.data.stream_decoder import StreamDecoder
from gpt_jax.inference.stop_strings import StopFilter

_TAIL_CHARS = 256  # of a prompt, as context of its continuation


class Pieces:
  """Takes the ids of one text; what it returns adds up to it, without a stop string."""

  def __init__(self, tokenizer, prompt='', stop=()):
    """Takes the text before, and the strings that end the text."""
    # Ids shown as numbers would run into the last one of the prompt.
    is_text = tokenizer.byte_lengths.any()
    is_apart = is_text or prompt[-1:].isspace() or not prompt
    self._separator = '' if is_apart else ' '
    # The space before the first token depends on what is before it.
    tail = '' if tokenizer.joins_bytes else prompt[-_TAIL_CHARS:]
    self._decoder = StreamDecoder(tokenizer, tokenizer.encode(tail))
    self._stops = StopFilter(stop)

  def push(self, token_id):
    """Returns the characters that are certain with `token_id`, perhaps ''."""
    return self._shown(self._stops.push(self._decoder.push(token_id)))

  def finish(self):
    """Returns what was held back, at the end of the text."""
    return self._shown(self._stops.push(self._decoder.finish()) + self._stops.finish())

  def _shown(self, piece):
    if not piece:
      return ''
    separator, self._separator = self._separator, ''
    return separator + piece
