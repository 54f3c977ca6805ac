"""Numbers that name a person or an account, told from ordinary ones by their rules."""

import calendar
import ipaddress

# GB 2260: the first two digits are a province.
PROVINCES = frozenset(
  '11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62'
  ' 63 64 65 71 81 82 83 91'.split()
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # 2^(17-i) mod 11
_ID_CHECKS = '10X98765432'

# SWIFT's registry of IBANs: characters by country.
IBAN_LENGTHS = {
  country: int(length)
  for length, countries in {
    15: 'NO', 16: 'BE', 18: 'DK FK FI FO GL NL SD', 19: 'MK SI',
    20: 'AT BA EE KZ LT LU MN XK', 21: 'CH HR LI LV',
    22: 'BG BH CR DE GB GE IE ME RS VA', 23: 'AE GI IL IQ OM SO TL',
    24: 'AD CZ ES MD PK RO SA SE SK TN VG', 25: 'LY PT ST', 26: 'IS TR',
    27: 'BI DJ FR GR IT MC MR SM', 28: 'AL AZ BY CY DO GT HN HU LB NI PL SV',
    29: 'BR EG PS QA UA', 30: 'JO KW MU YE', 31: 'MT SC', 32: 'LC', 33: 'RU',
  }.items()
  for country in countries.split()
}  # fmt: skip

# ISO/IEC 7812: first digits, from and to, and how many digits the number may have.
_CARDS = (
  ('4', '4', (13, 16, 19)),  # Visa
  ('51', '55', (16,)),  # Mastercard
  ('2221', '2720', (16,)),
  ('34', '34', (15,)),  # American Express
  ('37', '37', (15,)),
  ('300', '305', (14, 16, 17, 18, 19)),  # Diners Club
  ('3095', '3095', (14, 16, 17, 18, 19)),
  ('36', '36', (14, 16, 17, 18, 19)),
  ('38', '39', (14, 16, 17, 18, 19)),
  ('3528', '3589', (16, 17, 18, 19)),  # JCB
  ('6011', '6011', (16, 17, 18, 19)),  # Discover
  ('644', '649', (16, 17, 18, 19)),
  ('65', '65', (16, 17, 18, 19)),
  ('62', '62', (16, 17, 18, 19)),  # UnionPay
  ('2200', '2204', (16, 17, 18, 19)),  # Mir
  ('60', '60', (16,)),  # RuPay
  ('508', '508', (16,)),
  ('50', '50', (16, 18, 19)),  # Maestro
  ('56', '58', (16, 18, 19)),
  ('63', '63', (16, 18, 19)),
  ('67', '67', (16, 18, 19)),
)

# ITU-T E.164: country codes other than 1 and 7, or the first two of their three digits.
_CALLING_CODES = frozenset(
  '20 21 22 23 24 25 26 27 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48'
  ' 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 80 81 82 84 85 86 87'
  ' 88 90 91 92 93 94 95 96 97 98 99'.split()
)

_WITHDRAWN_SSN = frozenset({'078051120', '219099999'})  # were printed in advertisements
_TALKED_OF = ('64:ff9b::/96', '2000::/3', 'fc00::/7', 'fe80::/10', 'ff00::/8')
_NETWORKS = tuple(ipaddress.IPv6Network(network) for network in _TALKED_OF)


def is_resident_id(number):
  """Returns whether 18 characters are a Chinese resident identity number.

  Province, date of birth, and a check character by ISO 7064 MOD 11-2 (GB 11643-1999).
  """
  number = number.upper()
  if len(number) != 18 or not number[:17].isdecimal():
    return False
  if number[:2] not in PROVINCES or not _is_date(number[6:14]):
    return False
  total = sum(
    int(digit) * weight for digit, weight in zip(number[:17], _ID_WEIGHTS, strict=True)
  )
  return _ID_CHECKS[total % 11] == number[17]


def is_old_resident_id(number):
  """Returns whether 15 digits may be one of before 1999: it has no check digit."""
  return number[:2] in PROVINCES and _is_date('19' + number[6:12])


def _is_date(digits):
  year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
  if not (1850 <= year < 2100 and 1 <= month <= 12):
    return False
  return 1 <= day <= calendar.monthrange(year, month)[1]


def is_ssn(number):
  """Returns whether 9 digits can be a US social security number.

  No area 000, 666 or from 900, no group 00, no serial 0000, none of those withdrawn.
  """
  area, group, serial = number[:3], number[3:5], number[5:]
  if area in ('000', '666') or area[0] == '9' or group == '00' or serial == '0000':
    return False
  return number not in _WITHDRAWN_SSN


def is_card(number):
  """Returns whether digits are a payment card's: prefix, length, and Luhn's sum."""
  is_known = len(number) in _CARD_LENGTHS.get(number[:4], ())
  return is_known and passes_luhn(number) and len(set(number)) > 1


_CARD_LENGTHS = {
  str(prefix): tuple(
    length
    for first, last, lengths in _CARDS
    if first <= str(prefix)[: len(first)] <= last
    for length in lengths
  )
  for prefix in range(1000, 10000)
}
_VALUES = bytes(max(0, code - 48) % 10 for code in range(256))
_DOUBLED = bytes((2 * value - 9 * (value > 4)) for value in _VALUES)


def passes_luhn(number):
  """Returns whether the last digit is right for those before. ISO/IEC 7812-1, B."""
  codes = number.encode()
  total = sum(codes[-1::-2].translate(_VALUES))
  return (total + sum(codes[-2::-2].translate(_DOUBLED))) % 10 == 0


def is_iban(number):
  """Returns whether letters and digits are an IBAN: length, and mod 97. ISO 13616."""
  number = number.upper()
  if IBAN_LENGTHS.get(number[:2]) != len(number):
    return False
  return int(''.join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1


def is_nanp(number):
  """Returns whether 10 digits can be a number of the North American plan."""
  area, exchange = number[:3], number[3:6]
  if area[0] in '01' or exchange[0] in '01' or area[1:] == '11' or exchange[1:] == '11':
    return False
  return area[1] != '9' and area[:2] not in ('37', '96')  # kept for its expansion


def is_international(number):
  """Returns whether digits, those after + or 00, begin with a country code. E.164."""
  if not 8 <= len(number) <= 15:
    return False
  if number[0] == '1':
    return len(number) == 11 and is_nanp(number[1:])
  if number[0] == '7':
    return len(number) == 11
  if number.startswith('86'):  # 3 digits of area and 7 or more; 11 of a mobile
    return 11 <= len(number) <= 13
  return number[:2] in _CALLING_CODES


def is_ipv4(text):
  """Returns whether four numbers with dots are an address."""
  parts = text.split('.')
  if any(len(part) > 1 and part[0] == '0' for part in parts):
    return False
  return all(int(part) < 256 for part in parts) and parts[0] != '0'


def is_ipv6(text):
  """Returns whether `text` is an address in use: a global, local or multicast one."""
  try:
    address = ipaddress.IPv6Address(text)
  except ValueError:
    return False
  return any(address in network for network in _NETWORKS)
