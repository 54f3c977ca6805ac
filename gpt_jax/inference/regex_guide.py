"""A guide to texts that match a regular expression as a whole."""

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import guide
from gpt_jax.inference.grammar_library import Library
from gpt_jax.inference.spelling import Spelling, missing_bytes


class Regex:
  """The GuideMaker of texts of up to `max_new_tokens` that match `pattern`.

  The syntax is that of Rust's regex package: no look-around, no backreferences.
  """

  def __init__(self, pattern, max_new_tokens, tokenizer):
    """Raises ConfigError for a pattern that nothing within the limit matches."""
    if not isinstance(pattern, str) or not pattern:
      raise ConfigError(f"regex={pattern!r}: expected an expression, such as '[0-9]+'.")
    self.spelling = Spelling.of(tokenizer)
    self.library = Library.of(tokenizer, self.spelling)
    self.max_new_tokens = max_new_tokens
    # A character may take a token for each of its bytes, others are ruled out.
    width = max(len(character.encode()) for character in pattern)
    self.max_characters = max_new_tokens // width
    self.matcher = self.library.matcher('regex', self._source(pattern))
    self._key = (pattern, max_new_tokens, tokenizer.fingerprint)
    if not np.delete(self.library.allowed(self.matcher), self._end_ids()).any():
      raise ConfigError(
        f'regex={pattern!r}: no text of up to {self.max_characters} characters was'
        f' found (max_new_tokens={max_new_tokens}). Either nothing matches, or'
        f' max_new_tokens is too small, or the {tokenizer.name} tokenizer of'
        f' {tokenizer.vocab_size} ids lacks characters for it.'
      )

  def _source(self, pattern):
    # The intersection of both: no text is begun that cannot end within its length.
    escaped = self.library.package.regex_to_lark(pattern, use_ascii='')
    characters, most = self.spelling.character_class, self.max_characters
    return f'start: TEXT\nTEXT: /{escaped}/ & /{characters}{{0,{most}}}/'

  def _end_ids(self):
    return (
      [self.library.end_id] if self.library.end_id < self.library.vocab_size else []
    )

  def __eq__(self, other):
    return isinstance(other, Regex) and self._key == other._key

  def __hash__(self):
    return hash(self._key)

  def start(self, prompt_ids):
    return RegexGuide(self)


class RegexGuide:
  """The Guide of one text."""

  masks = True

  def __init__(self, regex):
    self._regex, self._matcher = regex, regex.matcher.deep_copy()
    self._left, self._tail = regex.max_new_tokens, b''
    self._characters = 0  # begun

  def allowed(self):
    allowed_V = self._regex.library.allowed(self._matcher)
    # Each character left may take a token. What is over may go to parts of characters.
    spare = self._left - (self._regex.max_characters - self._characters)
    allowed_V &= self._regex.spelling.missing_V <= spare - missing_bytes(self._tail)
    return guide.packed(allowed_V)

  def take(self, token_id):
    piece = self._regex.spelling.token_bytes[token_id]
    self._left -= 1
    self._tail = (self._tail + piece)[-4:]
    self._characters += sum(byte & 0xC0 != 0x80 for byte in piece)
    self._matcher.consume_token(token_id)
    return self._matcher.is_stopped()
