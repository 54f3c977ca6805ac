"""Telephone numbers: international, North American, Chinese, and labelled ones."""

import re

from gpt_jax.safety import identifiers

# A number begins where no letter, digit or decimal point stands before it. The class
# comes first in a pattern, as `re` skips quickly to what it may begin with.
BEGIN = r'(?<![0-9a-z].)(?<![0-9][.].)'
END = r'(?![0-9a-z])(?![.][0-9])'

_INTERNATIONAL = re.compile(
  r'(?:\+(?<![0-9].)|0(?<![0-9a-z.].)0)(?=(\(?[1-9](?:[ \-./()]{0,2}[0-9]){7,14}))'
)
_MOBILE = re.compile(
  rf'1{BEGIN}(?=((?:3[0-9]|4[14-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])'
  rf'(?:[0-9]{{8}}|([ \-])[0-9]{{4}}\2[0-9]{{4}})){END})'
)
_MOBILE_86 = re.compile(
  rf'8{BEGIN}(?=(6[ \-]?1[3-9][0-9]'
  rf'(?:[0-9]{{8}}|([ \-])[0-9]{{4}}\2[0-9]{{4}})){END})'
)
_LANDLINE = re.compile(
  rf'[0(]{BEGIN}(?<![0-9]-.)(?=('
  r'(?:(?<=\()0(?:10|2[0-57-9])\) ?|(?<=0)(?:10|2[0-57-9])[ \-]?)'
  r'[2-8][0-9]{3}[ \-]?[0-9]{4}(?:-[0-9]{1,6})?'
  r'|(?:(?<=\()0[3-9][0-9]{2}\) ?|(?<=0)[3-9][0-9]{2}[ \-]?)'
  rf'[2-8][0-9]{{2,3}}[ \-]?[0-9]{{4}}(?:-[0-9]{{1,6}})?){END})'
)
_NANP = re.compile(
  rf'[12-9(]{BEGIN}(?<![0-9]-.)(?=((?:(?<=1)(?:[ \-.]\(?|\()[2-9][0-9]{{2}}'
  r'|(?<=\()[2-9][0-9]{2}|(?<=[2-9])[0-9]{2})(?:\) ?|[ \-.])'
  rf'[2-9][0-9]{{2}}[ \-.][0-9]{{4}}){END})'
)
_LABELLED = re.compile(
  r'(?:(?<![a-z])(?:tele?phones?|tel|phones?|mobile|cell(?:phone)?|fax|whatsapp)'
  r'|电话|手机|座机|传真|热线|致电|拨打|联系方式)'
  r'(?: ?(?:numbers?|num|no|nr|is|at|on|号码|号|是|为))?'
  r'(?: ?(?:is|是|为))?[ .:#=)\]]{0,4}'
  r'(?=(\+?\(?[0-9](?:[ \-./()]{0,2}[0-9]){6,14})(?![0-9a-z]))'
)
_DATE = re.compile(r'(?:19|20)[0-9]{2}([\-./])(?:0?[1-9]|1[0-2])\1')
LABEL_CHARS = 48
"""How far a label begins before its number, at most."""


def find(text, start):
  """Yields (from, to) of telephone numbers in folded `text` that begin at `start` on.

  Those of no such form are found after a word such as `phone:`.
  """
  for pattern in (_MOBILE, _MOBILE_86, _LANDLINE):
    for found in pattern.finditer(text, start):
      yield found.start(), found.end(1)
  for found in _NANP.finditer(text, start):
    digits = compact(text[found.start() : found.end(1)])
    if identifiers.is_nanp(digits[-10:]):
      yield found.start(), found.end(1)
  for found in _INTERNATIONAL.finditer(text, start):
    for end in _ends(text, *found.span(1)):
      if identifiers.is_international(compact(text[found.start(1) : end])):
        yield found.start(), end
        break
  for found in _LABELLED.finditer(text, max(0, start - LABEL_CHARS)):
    if found.start(1) >= start and not _DATE.match(found[1]):
      yield found.span(1)


def _ends(text, start, end):
  """Yields where a number may end: at `end`, or before it after whole groups."""
  for place in range(end, start, -1):
    if text[place - 1].isdigit() and not text[place : place + 1].isdigit():
      yield place


_SEPARATORS = str.maketrans('', '', ' -./()')


def compact(text):
  """Returns a number without what separates its groups."""
  return text.translate(_SEPARATORS)
