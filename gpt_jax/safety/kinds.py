"""The kinds of personal data that can be told by their form, and where they stand.

Each pattern has a longest match, and what a check refuses is tried again one character
on, so a text takes a time that grows as its length.
"""

import re

from gpt_jax.safety import identifiers, phones

_BEGIN, _END = phones.BEGIN, phones.END

LOCAL_CHARS, DOMAIN_CHARS = 64, 255  # RFC 5321, 4.5.3.1
_DOMAIN = re.compile(
  r'(?:[a-z0-9](?:[a-z0-9\-]{0,62})\.){1,12}(?:xn--[a-z0-9\-]{1,40}|[a-z]{2,24})'
  r'(?![a-z0-9])'
)
_LOCAL_BACKWARDS = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~\-]{{1,{LOCAL_CHARS}}}")


def _emails(text, start):
  at = text.find('@', start + 1)
  while at != -1:
    domain = _DOMAIN.match(text, at + 1, at + 1 + DOMAIN_CHARS)
    if domain:
      local = _LOCAL_BACKWARDS.match(text[max(0, at - LOCAL_CHARS) : at][::-1])
      length = len(local[0].rstrip(".!#$%&'*/=?^`{|}~-")) if local else 0
      if length and at - length >= start:
        yield at - length, domain.end()
    at = text.find('@', at + 1)


_RESIDENT_ID = re.compile(
  rf'[1-9]{_BEGIN}(?=([0-9]{{5}}([ \-]?)(?:18|19|20)[0-9]{{6}}\2[0-9]{{3}}[0-9x])'
  rf'{_END})'
)
_OLD_RESIDENT_ID = re.compile(r'身份证[^0-9]{0,8}(?=([1-9][0-9]{14})(?![0-9a-z]))')
_LABEL_CHARS = 11


def _resident_ids(text, start):
  for found in _RESIDENT_ID.finditer(text, start):
    number = phones.compact(text[found.start() : found.end(1)])
    if identifiers.is_resident_id(number):
      yield found.start(), found.end(1)
  for found in _OLD_RESIDENT_ID.finditer(text, max(0, start - _LABEL_CHARS)):
    if found.start(1) >= start and identifiers.is_old_resident_id(found[1]):
      yield found.span(1)


_SSN = re.compile(
  rf'[0-8]{_BEGIN}(?<![0-9]-.)(?=([0-9]{{2}}([ \-])[0-9]{{2}}\2[0-9]{{4}}){_END}'
  r'(?!-[0-9]))'
)
_LABELLED_SSN = re.compile(
  r'(?:(?<![a-z])ssn|social security)(?: ?(?:number|no|is)){0,2}[ .:#=]{0,4}'
  r'(?=([0-9]{9})(?![0-9a-z]))'
)


def _ssns(text, start):
  for found in _SSN.finditer(text, start):
    if identifiers.is_ssn(phones.compact(text[found.start() : found.end(1)])):
      yield found.start(), found.end(1)
  for found in _LABELLED_SSN.finditer(text, max(0, start - phones.LABEL_CHARS)):
    if found.start(1) >= start and identifiers.is_ssn(found[1]):
      yield found.span(1)


_CARDS = [
  re.compile(rf'[2-68]{_BEGIN}(?=({rest}){_END})')
  for rest in (
    r'[0-9]{12,18}',
    r'[0-9]{3}([ \-])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{1,3})?',
    r'[0-9]{3}([ \-])[0-9]{4}\2[0-9]{4}\2[0-9]{4}',  # before one more number
    r'[0-9]{3}([ \-])[0-9]{6}\2[0-9]{4,5}',
    r'[0-9]{5}([ \-])[0-9]{13}',
  )
]


def _cards(text, start):
  for pattern in _CARDS:
    for found in pattern.finditer(text, start):
      if identifiers.is_card(phones.compact(text[found.start() : found.end(1)])):
        yield found.start(), found.end(1)


_IBAN_BEGIN = re.compile(r'[a-z](?<![0-9a-z].)(?=[a-z][0-9]{2}[ \-]?[0-9a-z])')
_IBAN_BODIES = {
  length: re.compile(rf'(?:[ \-]?[0-9a-z]){{{length - 4}}}(?![0-9a-z])')
  for length in set(identifiers.IBAN_LENGTHS.values())
}


def _ibans(text, start):
  for found in _IBAN_BEGIN.finditer(text, start):
    first = found.start()
    length = identifiers.IBAN_LENGTHS.get(text[first : first + 2].upper())
    body = length and _IBAN_BODIES[length].match(text, first + 4)
    if body:
      if identifiers.is_iban(phones.compact(text[first : body.end()])):
        yield first, body.end()


_IPV4 = re.compile(
  r'[0-9](?<![0-9a-z].)(?<![0-9a-z\-][.\-].)'
  r'(?=([0-9]{0,2}(?:\.[0-9]{1,3}){3})(?![0-9a-z])(?!\.[0-9]))'
)
_NOT_AN_ADDRESS = re.compile(
  r'(?:(?<![a-z])(?:version|ver|release|build|section|chapter|figure|fig|table|clause)'
  r'|版本|章|节|条)s?[ .:=]{0,3}$'
)
_ADDRESS = re.compile(
  r'(?:(?<![a-z])(?:ip|ipv4|host|hostname|server|address|dns|gateway|ping|ssh|from)'
  r'|地址|主机|服务器|网关)(?: (?:is|at))?[ .:=\]是为]{0,3}$|://$'
)
_IPV6 = re.compile(
  r'[0-9a-f:](?<![\w.:].)(?=[0-9a-f]{0,4}:[0-9a-f]{0,4}:|:)'
  r'(?=([0-9a-f:]{2,39}[0-9.]{0,15})(?!\w))'
)
_WORD_CHARS = 24


def _addresses(text, start):
  for found in _IPV4.finditer(text, start):
    first, end = found.start(), found.end(1)
    address, before = text[first:end], text[max(0, first - _WORD_CHARS) : first]
    if not identifiers.is_ipv4(address) or _NOT_AN_ADDRESS.search(before):
      continue
    # 3.1.4.2 is rather a section or a version, unless it is called an address.
    is_small = all(len(part) == 1 for part in address.split('.'))
    if not is_small or text[end : end + 1] in (':', '/') or _ADDRESS.search(before):
      yield first, end
  for found in _IPV6.finditer(text, start):
    end = found.end(1)
    while text[end - 1] in '.:' and text[end - 2 : end] != '::':
      end -= 1
    if identifiers.is_ipv6(text[found.start() : end]):
      yield found.start(), end


KINDS = {
  'email': _emails,
  'iban': _ibans,
  'card': _cards,
  'resident_id': _resident_ids,
  'ssn': _ssns,
  'ip': _addresses,
  'phone': phones.find,
}
"""Name -> `find(folded text, start)`, which yields (from, to) of those from `start` on.

What is two kinds at once is the one that stands first here.
"""

CONTEXT_CHARS = 64
"""How much of the text before a match decides about it, at most."""
_WORD = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~\-@:]+")
_NUMBER = re.compile(r'[0-9x \-.,/()+]+')
_IBAN = re.compile(r'(?<![0-9a-z])[a-z]{2}[0-9]{2}[0-9a-z \-]*$')
_LONGEST = 50  # of a number or an IBAN, and two characters after it


def undecided(text, start):
  """Returns the first place from `start` on whose match more text might make or end."""
  end = len(text)
  reach = LOCAL_CHARS + 1 + DOMAIN_CHARS
  tail = text[max(start, end - reach) :][::-1]
  word = _WORD.match(tail)
  first = end
  if word:
    length = word.end()
    at = tail.rfind('@', 0, length)
    first = end - min(length, at + 1 + LOCAL_CHARS)
  tail = text[max(start, end - _LONGEST) :]
  number = _NUMBER.match(tail[::-1])
  if number:
    run = tail[len(tail) - number.end() :]
    first = min(first, end - len(run.lstrip(' -.,/)x')))
  iban = _IBAN.search(tail)
  if iban:
    first = min(first, end - len(tail) + iban.start())
  return max(start, first)
