"""The bytes that each token adds to a text."""

import numpy as np

_TRIALS, _TRIAL_LEN = 64, 12
_INCOMPLETE = '\ufffd'


def token_pieces(tokenizer):
  """Returns the bytes that each id adds to a text, b'' for special tokens.

  Joined, they are the text, but for spaces at its ends; bytes that are no UTF-8 are
  U+FFFD there. Most tokenizers spell them in `token_bytes`; where words are joined by
  spaces (WordPiece, suffixes of words), they are read off texts of three tokens.
  """
  if tokenizer.joins_bytes or _are_joined(tokenizer):
    return tokenizer.token_bytes
  first, last = _words(tokenizer)
  texts = [
    tokenizer.decode([first, i, last]) for i in range(tokenizer.vocab_size)
  ]  # fmt: skip
  both = tokenizer.decode([first, last])
  for border in range(len(both)):
    before, after = both[:border], both[border:]
    if all(
      len(text) >= len(both) and text.startswith(before) and text.endswith(after)
      for text in texts
    ):
      return [
        tokenizer.token_bytes[i] if _INCOMPLETE in text
        else text[border : len(text) - len(after)].encode()
        for i, text in enumerate(texts)
      ]  # fmt: skip
  return None


def _are_joined(tokenizer):
  """Returns whether the bytes of random tokens, joined, are their text."""
  rng = np.random.default_rng(0)
  for ids in rng.integers(0, tokenizer.vocab_size, (_TRIALS, _TRIAL_LEN)):
    text = tokenizer.decode(ids)
    if _INCOMPLETE in text:
      continue  # libraries differ in what they make of these
    joined = b''.join(tokenizer.token_bytes[i] for i in ids).decode('utf-8', 'replace')
    if joined.strip() != text.strip():
      return False
  return True


def _words(tokenizer):
  """Returns two ids whose texts are letters."""
  letters = (
    i for i in range(tokenizer.vocab_size) if tokenizer.decode([i]).strip().isalpha()
  )
  return next(letters), next(letters)
