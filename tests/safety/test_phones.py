"""Telephone numbers are found in the forms that people write, whole."""

import pytest

from gpt_jax.safety import folding, phones


def found(text):
  text = folding.NUMBERS.of(text)
  spans = sorted(set(phones.find(text, 0)))
  first = [s for s in spans if not any(o[0] < s[0] < o[1] for o in spans)]
  return [text[start:end] for start, end in first]


@pytest.mark.parametrize(
  'number',
  [
    '+8613912345678', '+86 139 1234 5678', '0044 20 7946 0958', '+1 (415) 555-2671',
    '+49 30 901820', '13912345678', '139-1234-5678', '86-13912345678', '010-65541234',
    '01065541234', '0755-8888 8888', '(0755)88888888', '021-61234567-8012',
    '415-555-2671', '415.555.2671', '(415) 555-2671', '1 415 555 2671',
    '1(415)555-2671',
  ],
)  # fmt: skip
def test_numbers_are_found_whole(number):
  spans = list(phones.find(f'x {number} y', 0))
  assert (2, 2 + len(number)) in spans
  assert all(2 <= start and end <= 2 + len(number) for start, end in spans)


@pytest.mark.parametrize(
  'text',
  [
    '12012345678', '139123456789', 'a13912345678', '1.13912345678', '13912345678.5',
    '+86 10', '+28 31234567', '4155552671', '115-555-2671', '415-155-2671',
    '415-555-26715', '0101-65541234', '010-15541234', '2021-05-03', '+ 3565158568',
    'phone 2021-05-03', 'phone: 12345', 'hotel 5551234567',
  ],
)  # fmt: skip
def test_other_numbers_are_not(text):
  assert found(text) == []


@pytest.mark.parametrize(
  'text', ['tel: 5551234567', 'cell number is 5551234567', '电话号码：5551234567']
)
def test_a_word_before_it_makes_a_number_one(text):
  assert found(text) == ['5551234567']


def test_what_follows_a_number_is_not_part_of_it():
  assert found('+86 139 1234 5678 20 people') == ['+86 139 1234 5678']
