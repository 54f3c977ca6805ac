"""Chinese text for metrics: its letters, and its tokens without a dictionary."""

import re

LETTER = '\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff'
"""Han characters, for the inside of a regular expression: Unicode's CJK ideographs."""
_TOKEN = re.compile(rf'[{LETTER}]|[^\W{LETTER}]+')
_LETTER = re.compile(f'[{LETTER}]')


def character_tokens(text):
  """Returns the tokens of a Chinese `text`, lower-cased.

  A Han character is a token by itself; letters and digits of other scripts that stand
  together are one. Punctuation and symbols are left out.
  """
  return _TOKEN.findall(text.lower())


def is_chinese(texts):
  """Returns whether half of the letters of all `texts`, or more, are Han characters."""
  num_chinese = sum(len(_LETTER.findall(text)) for text in texts)
  num_letters = sum(character.isalpha() for text in texts for character in text)
  return 0 < num_letters <= 2 * num_chinese
