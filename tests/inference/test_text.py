"""Text in, text out: prompts, pieces, scores and their limits, by a byte tokenizer."""

import functools
import math

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from gpt_jax.inference.sampling import Sampling
from gpt_jax.inference.text import TextGenerator
from tests import small_models as small

SEQ_LEN = 32
ABC = CharTokenizer('abc')  # no end token, so nothing stops a text


@functools.cache
def make(tokenizer=None, **overrides):
  """Returns the TextGenerator of a small random model with a padded embedding."""
  tokenizer = tokenizer or ByteTokenizer()
  fields = dict(data__seq_len=SEQ_LEN, model__vocab_size=tokenizer.vocab_size + 23)
  config = small.resolve(**(fields | overrides))
  return TextGenerator(config, small.random_params(small.make_gpt(config)), tokenizer)


def test_one_prompt_gives_a_text_and_a_list_gives_a_list():
  texts = make().generate(['ab', 'c'], max_new_tokens=12)
  assert texts == [make().generate(p, max_new_tokens=12) for p in ('ab', 'c')]
  assert make().generate([]) == []


def test_an_iterator_of_prompts_gives_a_text_for_each():
  assert make().generate(iter(['ab', 'c'])) == make().generate(['ab', 'c'])


@pytest.mark.parametrize('seed', range(3))
def test_streamed_pieces_join_to_the_text(seed):
  settings = dict(max_new_tokens=12, sampling=Sampling(temperature=3.0), seed=seed)
  pieces = list(make().stream('π', **settings))
  assert ''.join(pieces) == make().generate('π', **settings)
  assert all(pieces)


def test_a_character_of_several_tokens_is_one_piece():
  generator = make()
  ids = np.frombuffer('aπ€b'.encode(), np.uint8)
  assert list(generator._pieces(ids)) == ['a', 'π', '€', 'b']


def test_an_empty_prompt_starts_after_the_end_token():
  generator = make()
  (ids,) = generator.engine.generate(
    [np.array([256])], max_new_tokens=12, stop_ids=[256]
  )
  assert generator.generate('', max_new_tokens=12) == generator._tokenizer.decode(ids)


@pytest.mark.parametrize(
  'tokenizer, start', [(CharTokenizer('ab\n'), '\n'), (ABC, 'a')]
)
def test_without_an_end_token_it_starts_after_a_newline_or_id_0(tokenizer, start):
  generator = make(tokenizer)
  generate = functools.partial(generator.generate, max_new_tokens=12)
  assert generate('') == generate(start)
  assert set(generate('')) <= set(tokenizer.characters)


def test_without_a_number_it_writes_as_much_as_is_possible():
  generator = make(ABC)
  assert len(generator.generate('ab')) == SEQ_LEN - 2
  with pytest.raises(ConfigError, match=f'model.max_seq_len={SEQ_LEN}'):
    generator.generate('a' * SEQ_LEN)
  with pytest.raises(ConfigError, match='at most 30'):
    generator.generate('ab', max_new_tokens=31)
  free = make(ABC, model__position='rope', inference__max_new_tokens=40)
  assert len(free.generate('ab')) == 40


def test_the_end_token_ends_a_text_and_is_not_part_of_it():
  tokenizer = CharTokenizer('ab')
  tokenizer.eos_id = 1  # as if b were the end
  text = make(tokenizer).generate(
    ['a'] * 8, max_new_tokens=24, sampling=Sampling(temperature=2.0)
  )
  assert set(''.join(text)) <= {'a'}
  assert min(map(len, text)) < 24


def test_scores_add_up_along_a_text():
  generator = make()
  total = generator.score('ab', 'cdé')
  assert total == pytest.approx(
    generator.score('ab', 'c') + generator.score('abc', 'dé')
  )
  assert total < 0


def test_the_only_possible_continuation_scores_zero():
  assert make(CharTokenizer('a')).score('a', 'aaa') == pytest.approx(0.0, abs=1e-6)


def test_a_score_without_a_context_starts_as_documents_do():
  generator = make()
  expected = generator.engine.score([256], [97, 98])
  assert generator.score('', 'ab') == pytest.approx(expected)


def test_scores_tokenize_context_and_continuation_as_one_text():
  class Pairs(CharTokenizer):
    """Reads 'xy' as one token, as byte pairs would."""

    def __init__(self):
      super().__init__('axyz')
      self.token_bytes[3] = b'xy'

    def encode(self, text):
      return super().encode(text.replace('xy', 'z'))

  generator = make(Pairs())
  # The border between a and xy is one between tokens.
  assert generator.score('a', 'xy') == pytest.approx(generator.engine.score([0], [3]))
  # That between x and y is not: there is no way but to read them apart.
  assert generator.score('ax', 'y') == pytest.approx(
    generator.engine.score([0, 1], [2])
  )


def test_tokens_of_the_objective_have_logits_but_stay_unwritten():
  generator = make(objective__name='span_corruption')
  num_ids = generator.engine.vocab_limit
  assert num_ids > 257
  assert generator.engine.logits(np.array([[num_ids - 1]])).shape == (1, 1, num_ids)
  hot = Sampling(temperature=50.0)
  for seed in range(3):
    generator.generate(['a'] * 4, max_new_tokens=16, sampling=hot, seed=seed)


def test_a_masked_language_model_writes_no_text():
  with pytest.raises(ConfigError, match='masked_lm'):
    make(objective__name='masked_lm').generate('ab')


def test_characters_outside_the_vocabulary_are_named():
  with pytest.raises(DataError, match="'z'"):
    make(ABC).generate('az')


def test_uniform_logits_score_log_of_the_vocabulary_size():
  generator = make()
  zero = small.pytree.map_named(lambda name, leaf: leaf * 0, generator.engine.params)
  generator = TextGenerator(*_uniform(zero))
  assert generator.score('ab', 'cd') == pytest.approx(-2 * math.log(257), abs=1e-5)


def _uniform(params):
  config = small.resolve(data__seq_len=SEQ_LEN, model__vocab_size=280)
  return config, params, ByteTokenizer()
