"""A guide to texts that are one of a list of choices; it needs no package."""

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import guide
from gpt_jax.inference.spelling import Spelling


class Choices:
  """The GuideMaker of texts that are one of `texts`, of up to `max_new_tokens`."""

  def __init__(self, texts, max_new_tokens, tokenizer):
    """Raises ConfigError unless each of `texts` can be written within the limit."""
    texts = list(texts) if isinstance(texts, list | tuple) else ['']
    if not texts or not all(isinstance(text, str) and text for text in texts):
      raise ConfigError(
        f'choices={texts!r}: expected a list of texts, none of them empty, such as'
        " ['yes', 'no']."
      )
    self.spelling = Spelling.of(tokenizer)
    self.end_id, self.vocab_size = tokenizer.eos_id, tokenizer.vocab_size
    self.max_new_tokens = max_new_tokens
    self.contents = [text.encode() for text in dict.fromkeys(texts)]
    self._key = (tuple(texts), max_new_tokens, tokenizer.fingerprint)
    for content in self.contents:
      ids = self.spelling.ids(content)
      if ids is None or len(ids) > max_new_tokens:
        why = (
          f'the {tokenizer.name} tokenizer lacks characters of it'
          if ids is None
          else f'it has {len(ids)} tokens, more than max_new_tokens={max_new_tokens}'
        )
        raise ConfigError(f'choices: {content.decode()!r} cannot be written: {why}.')

  def __eq__(self, other):
    return isinstance(other, Choices) and self._key == other._key

  def __hash__(self):
    return hash(self._key)

  def start(self, prompt_ids):
    return ChoiceGuide(self)


class ChoiceGuide:
  """The Guide of one text, which ends where it is a choice and begins no other."""

  masks = True

  def __init__(self, choices):
    self._choices, self._left = choices, choices.max_new_tokens
    self._rests = choices.contents  # what is missing of those that are still possible

  def allowed(self):
    choices = self._choices
    allowed_V = np.zeros(choices.vocab_size, bool)
    for rest in self._rests:
      if not rest and choices.end_id is not None:
        allowed_V[choices.end_id] = True
      for token_id, size in choices.spelling.beginnings(rest):
        # After the token, what is then missing still fits.
        ids = choices.spelling.ids(rest[size:])
        allowed_V[token_id] |= ids is not None and len(ids) < self._left
    return guide.packed(allowed_V)

  def take(self, token_id):
    self._left -= 1
    piece = self._choices.spelling.token_bytes[token_id]
    matching = [rest for rest in self._rests if rest.startswith(piece)]
    self._rests = [rest[len(piece) :] for rest in matching]
    return not any(self._rests)
