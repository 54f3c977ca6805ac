"""A text never holds its stop string, and no part of one is shown before it is sure."""

import numpy as np
import pytest

from gpt_jax.inference.stop_strings import StopFilter
from tests.data import tokenizer_zoo
from tests.inference.test_text import ABC, make


def cut(text, strings):
  """Returns `text` up to the stop string that ends first, all at once."""
  for end in range(len(text) + 1):
    starts = [end - len(s) for s in strings if text[:end].endswith(s)]
    if starts:
      return text[: min(starts)]
  return text


def test_what_is_shown_depends_on_the_text_alone():
  rng = np.random.default_rng(0)
  for _ in range(300):
    text = ''.join(rng.choice(list('ab'), 12))
    strings = [
      ''.join(rng.choice(list('ab'), rng.integers(1, 6)))
      for _ in range(rng.integers(3))
    ]
    stops, shown, at = StopFilter(strings), '', 0
    while at < len(text):
      size = rng.integers(1, 5)
      shown += stops.push(text[at : at + size])
      at += size
      assert cut(text, strings).startswith(shown)
    assert shown + stops.finish() == cut(text, strings)


def test_only_what_may_begin_a_stop_string_is_held_back():
  stops = StopFilter(['abc'])
  assert [stops.push(piece) for piece in ('xa', 'b', 'ab', 'x')] == [
    'x',
    '',
    'ab',
    'abx',
  ]
  assert stops.push('yabz') == 'yabz' and not stops.is_over
  assert stops.push('ab') == '' and stops.finish() == 'ab'


@pytest.mark.parametrize('stop', ['ab', ('cab', 'bb'), 'abcabc'])
def test_a_text_ends_before_its_stop_string(stop):
  strings = (stop,) if isinstance(stop, str) else stop
  settings = dict(max_new_tokens=28, temperature=1.5)
  for seed in range(4):
    whole = make(ABC).generate('ab', seed=seed, **settings)
    (found,) = make(ABC).complete('ab', seed=seed, stop=stop, **settings)
    assert found.text == cut(whole, strings)
    is_cut = found.text != whole
    assert found.finish_reason == ('stop' if is_cut else 'length')
    pieces = list(make(ABC).stream('ab', seed=seed, stop=stop, **settings))
    assert ''.join(pieces) == found.text and all(pieces)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['bpe', 'llama', 'wordpiece', 'word ends'])
def test_stop_strings_cross_tokens_of_every_kind(kind):
  generator = make(tokenizer_zoo.make(kind))
  settings = dict(max_new_tokens=20, temperature=3.0)
  for seed in range(6):
    whole = generator.generate('the fox', seed=seed, **settings)
    middle = len(whole) // 2
    stop = whole[middle : middle + 3]
    assert generator.generate('the fox', seed=seed, stop=stop, **settings) == cut(
      whole, [stop]
    )
