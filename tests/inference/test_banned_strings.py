"""Banned strings never come about, whatever tokens would spell them."""

import numpy as np
import pytest

from gpt_jax.inference.banned_strings import Automaton, BannedStrings
from gpt_jax.inference.request import Request
from gpt_jax.inference.settings import Sampling
from tests.data import tokenizer_zoo
from tests.inference.test_text import ABC, make


def words(rng, letters, most):
  lengths = rng.integers(1, most, rng.integers(1, 4))
  return tuple(''.join(rng.choice(list(letters), n)) for n in lengths)


def test_the_automaton_says_where_strings_end():
  rng = np.random.default_rng(0)
  for _ in range(100):
    strings = words(rng, 'ab', 5)
    automaton = Automaton([string.encode() for string in strings])
    text, state = ''.join(rng.choice(list('ab'), 30)), 0
    for i, letter in enumerate(text):
      state = automaton.next[state, ord(letter)]
      ends = text[: i + 1].endswith(strings)
      assert automaton.is_end[state] == ends


@pytest.mark.parametrize('kind', ['byte', 'bpe', 'llama', 'wordpiece', 'word ends'])
def test_a_token_is_banned_where_its_text_would_hold_a_string(kind):
  tokenizer = tokenizer_zoo.make(kind)
  banned = ('the dog', 'e f', 'saw', 'x')
  prompt_ids = tokenizer.encode('the fox saw the')
  maker = BannedStrings(banned, tokenizer)
  allowed_W = maker.start(prompt_ids).allowed()
  bits = np.unpackbits(allowed_W.view(np.uint8), bitorder='little')
  before = tokenizer.decode(prompt_ids)
  for token_id in range(tokenizer.vocab_size):
    # A space after it is there once another word follows.
    after = tokenizer.decode([*prompt_ids, token_id]) + ' '
    counts = [after.count(s) - before.count(s) for s in banned]
    if bits[token_id] != (max(counts) == 0):
      piece = tokenizer.decode([token_id])
      assert kind == 'word ends' and not piece.endswith('x'), (token_id, piece)
  assert not bits[tokenizer.vocab_size :].any()


def test_texts_hold_no_banned_string_also_across_the_prompt():
  generator = make(ABC)
  settings = dict(max_new_tokens=28, temperature=2.0)
  banned, seen = ('ab', 'cac', 'bb'), set()
  for seed in range(4):
    free = 'a' + generator.generate('a', seed=seed, **settings)
    seen |= {s for s in banned if s in free}
    text = 'a' + generator.generate('a', seed=seed, banned=banned, **settings)
    assert len(text) == 29 and not any(s in text for s in banned)
    assert (
      ''.join(generator.stream('a', seed=seed, banned=banned, **settings)) == text[1:]
    )
  assert len(seen) > 1  # without the ban they do come


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['byte', 'bpe', 'llama'])
def test_random_models_of_every_tokenizer_obey(kind):
  tokenizer = tokenizer_zoo.make(kind)
  generator = make(tokenizer)
  settings = dict(max_new_tokens=24, temperature=1.5)
  for seed in range(6):
    free = generator.generate('the fox', seed=seed, **settings)
    clean = free.replace('\ufffd', '')
    at = len(clean) // 2
    banned = (clean[at : at + 2], clean[:1], clean[-1:])
    banned = tuple(s for s in banned if s)
    text = generator.generate('the fox', seed=seed, banned=banned, **settings)
    assert not any(s in text for s in banned), (banned, text)


@pytest.mark.slow
def test_where_all_is_banned_the_text_ends():
  (found,) = make(ABC).complete('a', banned=('a', 'b', 'cc'), max_new_tokens=9)
  assert (found.text, found.finish_reason) == ('c', 'dead_end')


@pytest.mark.slow
def test_a_banned_text_is_the_same_in_company():
  engine = make(ABC).engine
  banned = [BannedStrings(('ab', 'c'), ABC)]
  hot = Sampling(temperature=2.0)
  requests = [
    Request(prompt_ids=[0], max_new_tokens=20, sampling=hot, guides=guides)
    for guides in ([], banned)
  ]
  together = [ids.tolist() for ids in engine.generate(requests)]
  assert together == [engine.generate([request])[0].tolist() for request in requests]
