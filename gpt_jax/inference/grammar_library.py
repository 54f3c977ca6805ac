"""The `llguidance` package over our tokenizers; nothing else imports it."""

from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError, require_extra


class Library:
  """The package, and one tokenizer as it reads it: by ids, and byte by byte."""

  def __init__(self, tokenizer, spelling):
    self.package = _package()
    pieces = list(tokenizer.token_bytes)
    self.vocab_size, self.end_id = len(pieces), tokenizer.eos_id
    if self.end_id is None:  # the package wants an end token; no model writes this one
      self.end_id = len(pieces)
      pieces.append(b'<end>')
    self._by_id = self._read(pieces, self.end_id, spelling.ids, slices=None)
    each_byte = [bytes([i]) for i in range(256)]
    self._by_byte = self._read([*each_byte, b'<end>'], 256, list, slices=[])

  @staticmethod
  def of(tokenizer, spelling):
    """Returns the Library of a tokenizer, made once: that may take a second."""
    made: Any = vars(tokenizer)
    if '_grammar_library' not in made:
      made['_grammar_library'] = Library(tokenizer, spelling)
    return made['_grammar_library']

  def matcher(self, kind, source):
    """Returns what follows a text by its ids. Raises ConfigError, naming `kind`."""
    return self._start(kind, source, self._by_id)

  def byte_matcher(self, kind, source):
    """Returns what follows a text byte by byte."""
    return self._start(kind, source, self._by_byte)

  def allowed(self, matcher):
    """Returns which ids may come next, bool [V]."""
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    return np.unpackbits(bits, bitorder='little')[: self.vocab_size].astype(bool)

  def _start(self, kind, source, tokens):
    limits = self.package.LLParserLimits(verbose_errors=False)
    matcher = self.package.LLMatcher(tokens, source, log_level=0, limits=limits)
    if matcher.is_error():
      raise ConfigError(f'{kind}: {_told(matcher.get_error())}.')
    return matcher

  def _read(self, pieces, end_id, encode, slices):
    vocabulary = _Vocabulary(pieces, end_id, encode)
    wrapper = self.package.TokenizerWrapper(vocabulary)
    return self.package.LLTokenizer(wrapper, slices=slices)


class _Vocabulary:
  """What the package reads of a tokenizer."""

  def __init__(self, pieces, end_id, encode):
    self.tokens, self.eos_token_id, self.bos_token_id = pieces, end_id, None
    empty = [i for i, piece in enumerate(pieces) if not piece]
    self.special_token_ids = list(dict.fromkeys([end_id, *empty]))
    self._encode = encode

  def __call__(self, text):
    return self._encode(text if isinstance(text, bytes) else text.encode()) or []


def _package():
  try:
    import llguidance
  except ImportError as error:
    needs = require_extra('constrained', 'llguidance')
    raise ConfigError(f'regex and json_schema: constrained output {needs}.') from error
  return llguidance


def _told(problem):
  """Returns the sentence of the package's message that says what is wrong."""
  lines = [line.strip() for line in problem.splitlines() if line.strip()]
  errors = [line for line in lines if line.startswith('error:')]
  return (errors or lines or ['unknown'])[0].removeprefix('error:').strip(' .')
