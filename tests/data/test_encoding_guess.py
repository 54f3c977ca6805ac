"""Guesses of encodings: texts in each are recognized, damage and noise are not."""

import numpy as np
import pytest

from gpt_jax.data import encoding_guess
from tests.data.test_encodings import CHINESE, GERMAN, JAPANESE, KOREAN, RUSSIAN, TEXTS


@pytest.mark.parametrize('encoding', sorted(TEXTS))
def test_the_first_guess_is_right_for_two_lines(encoding):
  found = encoding_guess.suggest(TEXTS[encoding].encode(encoding) * 2)
  assert found[0][0] == encoding
  # A sample may end within a character.
  cut = encoding_guess.suggest((TEXTS[encoding].encode(encoding) * 2)[:-3])
  assert cut[0] == found[0]


def test_damaged_utf8_is_not_taken_for_another_encoding():
  for text in (CHINESE, JAPANESE, KOREAN, RUSSIAN, GERMAN):
    content = text.encode()
    middle = len(content) // 2
    damaged = content[:middle] + b'\xff' + content[middle + 1 :]
    assert encoding_guess.suggest(damaged * 3) == []


def test_noise_is_in_no_encoding():
  noise = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
  assert encoding_guess.suggest(noise) == []


def test_plain_ascii_with_some_zeros_is_no_utf16():
  assert encoding_guess.utf16_name(b'fields\0apart\0by zeros\0' * 9) is None
  assert encoding_guess.utf16_name(b'a\0') is None
