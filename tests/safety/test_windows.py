"""A text is cut at the same places, whatever pieces it comes in."""

import random

from gpt_jax.safety.windows import Windows


def windows_of(pieces, **options):
  windows = Windows(**options)
  found = [one for piece in pieces for one in windows.feed(piece)]
  return found + windows.finish()


def test_windows_end_with_sentences():
  text = 'It is 3.5 km. "Is it?" Yes\n你好。再见！'
  assert [part for _, part in windows_of([text], most=50)] == [
    'It is 3.5 km.',
    ' "Is it?"',
    ' Yes\n',
    '你好。',
    '再见！',
  ]


def test_a_long_sentence_is_cut_at_a_space():
  assert [part for _, part in windows_of(['aaaa bbbb cccc'], most=8)] == [
    'aaaa ',
    'bbbb ',
    'cccc',
  ]


def test_short_sentences_share_a_window():
  assert [part for _, part in windows_of(['a. b. c. d'], most=50, least=4)] == [
    'a. b.',
    ' c. d',
  ]


def test_names_stay_with_their_initials_and_titles():
  text = 'It was Dr. A. B. Stone. He left NATO. J. Ott saw it'
  assert [part for _, part in windows_of([text], most=50)] == [
    'It was Dr. A. B. Stone.',
    ' He left NATO.',
    ' J. Ott saw it',
  ]


def test_pieces_make_the_windows_of_the_whole():
  rng = random.Random(0)
  for _ in range(300):
    text = ''.join(rng.choice('a bA.!?\n。”"') for _ in range(rng.randint(0, 60)))
    options = dict(most=rng.randint(2, 20), least=rng.randint(1, 5))
    whole, pieces, place = windows_of([text], **options), [], 0
    while place < len(text):
      count = rng.randint(0, 4)
      pieces.append(text[place : place + count])
      place += count
    assert windows_of(pieces, **options) == whole
    assert ''.join(part for _, part in whole) == text
    assert all(len(part) <= options['most'] for _, part in whole)
