"""Text from ids that come one at a time, equal to `decode` of all of them."""

import codecs

_CONTEXT = 64  # ids; enough for a character, and a word after many spaces
_INCOMPLETE = '\ufffd'  # what `decode` makes of the beginning of a character


class StreamDecoder:
  """Decodes ids one at a time into whole characters.

  What the pieces join to is `decode` of all ids: also where spaces stand between tokens
  (WordPiece, suffixes of words), or a first space is dropped. With a `context`, the ids
  that come before, it is what they add to its text.
  """

  def __init__(self, tokenizer, context=()):
    self._tokenizer = tokenizer
    self._bytes = codecs.getincrementaldecoder('utf-8')('replace')
    # The last few; those before `_shown` have been shown.
    self._ids = [int(i) for i in context][-_CONTEXT:]
    self._shown = len(self._ids)

  def push(self, token_id):
    """Returns the characters that `token_id` completes, perhaps ''."""
    if self._tokenizer.joins_bytes:
      return self._bytes.decode(self._tokenizer.bytes_of(int(token_id)))
    self._ids.append(int(token_id))
    return '' if self._tokenizer.may_change(self._ids) else self._show()

  def finish(self):
    """Returns what is left at the end: U+FFFD for an incomplete character."""
    if self._tokenizer.joins_bytes:
      return self._bytes.decode(b'', final=True)
    return self._show(is_last=True)

  def _show(self, is_last=False):
    # The ids before `_shown` are decoded again, as the text of a token depends on the
    # one before it, and that of the first one on its place.
    text = self._tokenizer.decode(self._ids)
    if text.endswith(_INCOMPLETE) and not is_last:
      return ''
    before = self._tokenizer.decode(self._ids[: self._shown])
    new = self._ids[self._shown :]
    if text[len(before) :].strip():
      self._ids = new
    self._shown = len(self._ids)
    return text[len(before) :]
