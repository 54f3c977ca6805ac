"""Which encodings a text that is not UTF-8 may be in: for error messages alone.

A candidate has to decode all of a sample, to characters that texts in this encoding
mostly consist of. Nothing is ever decoded by a guess.
"""

import codecs

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
  (codecs.BOM_UTF32_LE, 'utf-32'),
  (codecs.BOM_UTF32_BE, 'utf-32'),
  (codecs.BOM_UTF16_LE, 'utf-16'),
  (codecs.BOM_UTF16_BE, 'utf-16'),
)
# Lead bytes in which an encoding keeps its common characters: punctuation, kana, and
# the hanzi, kanji or syllables of its first level. Bytes of another encoding fall
# anywhere.
_COMMON_LEADS = {  # those with the fewest first: they win where several are equal
  'euc_kr': ((0xA1, 0xA3), (0xB0, 0xC8)),
  'euc_jp': ((0xA1, 0xA5), (0xB0, 0xCF)),
  'gb18030': ((0xA1, 0xA3), (0xB0, 0xD7)),
  'big5': ((0xA1, 0xC6),),
  'shift_jis': ((0x81, 0x83), (0x88, 0x97)),
}
# Code points that UTF-16 is expected to give besides common hanzi: ASCII, Latin, Greek,
# Cyrillic, kana, Hangul, full-width forms.
_COMMON_RANGES = (
  (0x09, 0x52F), (0x2010, 0x2026), (0x3000, 0x30FF), (0xAC00, 0xD7A3),
  (0xFF00, 0xFFEF),
)  # fmt: skip
_TYPOGRAPHY = '\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u20ac\xa0\xab\xbb\xb0\xa3\xa7'
_MIN_SCORE = 0.8


def suggest(sample):
  """Returns up to three (encoding, excerpt of the text), the most plausible first.

  None of them for UTF-8 with some damaged characters.
  """
  if name := utf16_name(sample):
    return [(name, excerpt(_decoded(sample, name) or ''))]
  if _is_mostly_utf8(sample):
    return []
  scored = []
  for rank, (name, score_of) in enumerate(_SCORES.items()):
    text = _decoded(sample, name)
    if text and (score := score_of(text, name)) >= _MIN_SCORE:
      scored.append((-score, rank, name, excerpt(text)))
  return [(name, shown) for _, _, name, shown in sorted(scored)[:3]]


def utf16_name(sample):
  """Returns the codec of the byte-order mark that is no UTF-8, else None.

  Also that of UTF-16 without a mark, if the text is mostly ASCII: that is valid UTF-8,
  with a NUL beside each letter.
  """
  for mark, name in _MARKS:
    if sample.startswith(mark):
      return name
  pairs = len(sample) // 2
  if pairs < 4:
    return None
  first, second = (sample[start : 2 * pairs : 2].count(0) / pairs for start in (0, 1))
  if second > 0.5 and first < 0.05:
    return 'utf-16-le'
  return 'utf-16-be' if first > 0.5 and second < 0.05 else None


def excerpt(text):
  """Returns about 30 characters of `text` around its first that is not ASCII."""
  text = text.removeprefix('\ufeff')
  first = next((i for i, character in enumerate(text) if character > '\x7f'), 0)
  return ' '.join(text[max(0, first - 10) : first + 20].split())


def _decoded(sample, name):
  try:
    return codecs.getincrementaldecoder(name)().decode(sample)  # its end may be cut
  except UnicodeError:
    return None


def _is_mostly_utf8(sample):
  text = sample.decode('utf-8', 'replace')
  bad = text.count('\ufffd')
  return sum(character > '\x7f' for character in text) > 4 * bad


def _foreign(text):
  return [character for character in text if character > '\x7f']


def _is_common(character, name):
  """Returns whether `name` keeps the character with its common ones."""
  code = character.encode(name, 'ignore')
  leads = _COMMON_LEADS[name]
  return len(code) == 2 and any(low <= code[0] <= high for low, high in leads)


def _common_leads(text, name):
  """Returns the share of common ones of the characters beyond ASCII."""
  foreign = _foreign(text)
  return sum(_is_common(c, name) for c in foreign) / max(1, len(foreign))


def _small_cyrillic(text, name):
  """Returns the share of small letters: in the wrong one, case is swapped."""
  foreign = _foreign(text)
  if len(foreign) < 0.3 * len(text):
    return 0.0
  return sum('\u0430' <= c <= '\u0451' for c in foreign) / len(foreign)


def _accented_latin(text, name):
  """Returns how much it looks like words with single letters beyond ASCII."""
  foreign = _foreign(text)
  if len(foreign) > 0.3 * len(text):
    return 0.0
  words = ''.join(c if c > '\x7f' else ' ' for c in text).split()
  short = sum(len(word) <= 2 for word in words) / max(1, len(words))
  usual = sum(c.isalpha() or c in _TYPOGRAPHY for c in foreign) / max(1, len(foreign))
  return short * usual


def _common_scripts(text, name):
  """Returns the share of characters that are in common use in some script."""
  common = sum(
    any(low <= ord(c) <= high for low, high in _COMMON_RANGES)
    or _is_common(c, 'gb18030')
    or _is_common(c, 'big5')
    for c in text
  )
  return common / len(text)


_SCORES = {
  **dict.fromkeys(_COMMON_LEADS, _common_leads),
  'cp1251': _small_cyrillic,
  'koi8-r': _small_cyrillic,
  'cp1252': _accented_latin,
  'utf-16-le': _common_scripts,
  'utf-16-be': _common_scripts,
}
