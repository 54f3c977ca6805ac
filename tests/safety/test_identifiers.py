"""Numbers are told by the rules of their standards, against their definitions."""

import random

import pytest

from gpt_jax.safety import identifiers


def mod_11_2(digits):
  """Returns the check character of ISO 7064's pure system, by its recursion."""
  product = 0
  for digit in digits:
    product = (product + int(digit)) * 2 % 11
  return '0123456789X'[(12 - product) % 11]


def luhn_digit(digits):
  """Returns the check digit of ISO/IEC 7812-1, as its annex B works it out by hand."""
  total = 0
  for place, digit in enumerate(reversed(digits)):
    value = int(digit) * (2 if place % 2 == 0 else 1)
    total += value // 10 + value % 10
  return str(-total % 10)


def iban_digits(country, account):
  """Returns the two check digits of ISO 13616 of an account, digit by digit."""
  rest = 0
  for char in account + country + '00':
    for digit in str(int(char, 36)):
      rest = (rest * 10 + int(digit)) % 97
  return f'{98 - rest:02d}'


def test_resident_ids_have_the_check_character_of_iso_7064():
  rng = random.Random(0)
  for _ in range(300):
    body = f'{rng.choice(sorted(identifiers.PROVINCES))}{rng.randrange(10000):04d}'
    body += (
      f'19{rng.randrange(100):02d}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}'
    )
    body += f'{rng.randrange(1000):03d}'
    right = mod_11_2(body)
    assert [c for c in '0123456789X' if identifiers.is_resident_id(body + c)] == [right]


@pytest.mark.parametrize(
  'number, is_one',
  [
    ('11010519491231002X', True),  # of the standard itself
    ('11010519491231002x', True),
    ('11010519490231002X', False),  # no 31st of February
    ('99010519491231002X', False),
    ('1101051949123100', False),
  ],
)
def test_resident_ids_have_a_province_and_a_date(number, is_one):
  assert identifiers.is_resident_id(number) == is_one


def test_cards_have_the_check_digit_of_luhn():
  rng = random.Random(1)
  for prefix, length in (('4', 16), ('34', 15), ('5105', 16), ('6212', 19), ('36', 14)):
    body = prefix + ''.join(
      rng.choice('0123456789') for _ in range(length - len(prefix) - 1)
    )
    right = luhn_digit(body)
    assert [d for d in '0123456789' if identifiers.is_card(body + d)] == [right]


@pytest.mark.parametrize(
  'digits, is_one',
  [
    ('4111111111111111', True),
    ('378282246310005', True),
    ('2223003122003222', True),
    ('6250941006528599', True),
    ('1234567812345670', False),  # Luhn holds, no issuer
    ('411111111111116', False),  # Luhn holds, 15 digits of a Visa
    ('0000000000000000', False),
  ],
)
def test_cards_have_a_prefix_and_a_length(digits, is_one):
  assert identifiers.is_card(digits) == is_one


def test_ibans_have_the_check_digits_of_mod_97():
  rng = random.Random(2)
  for country, length in identifiers.IBAN_LENGTHS.items():
    account = ''.join(rng.choice('0123456789ABCXYZ') for _ in range(length - 4))
    right = iban_digits(country, account)
    assert identifiers.is_iban(country + right + account)
    wrong = f'{(int(right) + 1) % 97:02d}'
    assert not identifiers.is_iban(country + wrong + account)


@pytest.mark.parametrize('number', ['GB82WEST12345698765432', 'DE89370400440532013000'])
def test_ibans_of_the_registry_are_ibans(number):
  assert identifiers.is_iban(number) and identifiers.is_iban(number.lower())
  assert not identifiers.is_iban(number + '0')


@pytest.mark.parametrize(
  'digits, is_one',
  [
    ('536904399', True),
    ('000904399', False),
    ('666904399', False),
    ('900904399', False),
    ('536004399', False),
    ('536900000', False),
    ('078051120', False),
  ],
)
def test_ssns_keep_the_rules_of_their_parts(digits, is_one):
  assert identifiers.is_ssn(digits) == is_one


@pytest.mark.parametrize(
  'digits, is_one',
  [
    ('8613912345678', True),
    ('442079460958', True),
    ('14155552671', True),
    ('11155552671', False),
    ('74951234567', True),
    ('2831234567', False),  # no such country
    ('4420794', False),
    ('4420794609581234', False),
  ],
)
def test_international_numbers_have_a_country(digits, is_one):
  assert identifiers.is_international(digits) == is_one


@pytest.mark.parametrize(
  'text, is_one',
  [
    ('192.168.1.20', True),
    ('256.1.1.1', False),
    ('01.2.3.4', False),
    ('0.1.2.3', False),
  ],
)
def test_ipv4_has_four_octets(text, is_one):
  assert identifiers.is_ipv4(text) == is_one


@pytest.mark.parametrize(
  'text, is_one',
  [
    ('2001:db8::1', True),
    ('fe80::1ff:fe23:4567:890a', True),
    ('::1', False),
    ('12:30:45', False),
    ('add::beef', False),
  ],
)
def test_ipv6_is_an_address_in_use(text, is_one):
  assert identifiers.is_ipv6(text) == is_one
