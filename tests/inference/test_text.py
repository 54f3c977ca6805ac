"""Text in, text out: prompts, pieces, scores and their limits, by a byte tokenizer."""

import functools
import math

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer, IdsTokenizer
from gpt_jax.inference.request import make_requests
from gpt_jax.inference.text import TextGenerator
from tests import small_models as small
from tests.data import tokenizer_zoo

SEQ_LEN = 32
ABC = CharTokenizer('abc')  # no end token, so nothing stops a text
SETTINGS = dict(max_new_tokens=20, temperature=1.7, top_k=2, top_p=0.9)


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


@pytest.mark.slow
def test_an_iterator_of_prompts_gives_a_text_for_each():
  assert make().generate(iter(['ab', 'c'])) == make().generate(['ab', 'c'])


@pytest.mark.parametrize('seed', range(3))
def test_streamed_pieces_join_to_the_text(seed):
  settings = dict(max_new_tokens=12, temperature=3.0, seed=seed)
  pieces = list(make().stream('π', **settings))
  assert ''.join(pieces) == make().generate('π', **settings)
  assert all(pieces)


def test_a_character_of_several_tokens_is_one_piece():
  generator = make()
  ids = np.frombuffer('aπ€b'.encode(), np.uint8)
  assert list(generator._pieces('', ids)) == ['a', 'π', '€', 'b']


def test_an_empty_prompt_starts_after_the_end_token():
  generator = make()
  (ids,) = generator.engine.generate(
    make_requests([[256]], max_new_tokens=12, stop_ids=(256,))
  )
  text = generator.generate('', max_new_tokens=12, temperature=0)
  assert text == generator._tokenizer.decode(ids)


def test_prompts_begin_as_documents_of_the_training_do():
  generator = make(data__begin_token='<|endoftext|>')
  assert generator._encode('a').tolist() == [256, 97]
  assert generator._encode('').tolist() == [256]
  plain = make()
  assert generator.score('', 'ab') == plain.score('', 'ab')


@pytest.mark.parametrize(
  'tokenizer, start', [(CharTokenizer('ab\n'), '\n'), (ABC, 'a')]
)
def test_without_an_end_token_it_starts_after_a_newline_or_id_0(tokenizer, start):
  generator = make(tokenizer)
  generate = functools.partial(generator.generate, max_new_tokens=12)
  assert generate('') == generate(start)
  assert set(generate('')) <= set(tokenizer.characters)


def test_settings_left_out_are_those_of_the_config():
  fields = {f'inference__{k}': v for k, v in SETTINGS.items()}
  configured, plain = make(ABC, **fields), make(ABC)
  assert configured.generate('ab', seed=3) == plain.generate('ab', seed=3, **SETTINGS)
  greedy = dict(SETTINGS, temperature=0)
  expected = plain.generate('ab', seed=3, **greedy)
  assert configured.generate('ab', seed=3, temperature=0) == expected


def test_each_prompt_may_have_settings_of_its_own():
  generator = make(ABC)
  texts = generator.generate(
    ['ab', 'c'], max_new_tokens=[5, 9], temperature=[0, 2.0], top_k=2, seed=[0, 6]
  )
  assert texts == [
    generator.generate('ab', max_new_tokens=5, temperature=0, top_k=2),
    generator.generate('c', max_new_tokens=9, temperature=2.0, top_k=2, seed=6),
  ]


def test_a_text_outgrows_the_positions_and_that_is_said_once(capsys):
  generator = make(ABC, model__d_model=24, inference__beyond_positions='slide')
  assert len(generator.generate('ab', max_new_tokens=SEQ_LEN - 1)) == SEQ_LEN - 1
  assert capsys.readouterr().err == ''
  text = generator.generate('ab', max_new_tokens=70)
  err = capsys.readouterr().err
  assert len(text) == 70 and err.count('\n') == 1
  assert 'up to 72 tokens' in err and 'model.max_seq_len=32' in err
  assert ''.join(generator.stream('ab', max_new_tokens=70)) == text
  assert capsys.readouterr().err == ''


def test_ids_of_a_synthetic_language_stand_apart_from_the_prompt():
  generator = make(IdsTokenizer(16))
  for prompt in ('3 14', '3 14 ', ''):
    text = generator.generate(prompt, max_new_tokens=6)
    assert ''.join(generator.stream(prompt, max_new_tokens=6)) == text
    words = (prompt + text).split()
    assert words[: len(prompt.split())] == prompt.split()
    assert len(words) == len(prompt.split()) + 6


@pytest.mark.parametrize('prompts', [3, None, b'ab', ['a', 3], [None], 2.5])
def test_prompts_that_are_no_text_are_named(prompts):
  for write in (make().generate, make().stream):
    with pytest.raises(ConfigError, match='prompts: expected a text'):
      write(prompts, max_new_tokens=2)
  with pytest.raises(ConfigError, match='expected a text'):
    make().score('a', prompts)


def test_the_end_token_ends_a_text_and_is_not_part_of_it():
  tokenizer = CharTokenizer('ab')
  tokenizer.eos_id = 1  # as if b were the end
  text = make(tokenizer).generate(['a'] * 8, max_new_tokens=24, temperature=2.0)
  assert set(''.join(text)) <= {'a'}
  assert min(map(len, text)) < 24


def test_scores_add_up_along_a_text():
  generator = make()
  total = generator.score('ab', 'cdé')
  assert total == pytest.approx(
    generator.score('ab', 'c') + generator.score('abc', 'dé')
  )
  assert total < 0


def test_a_context_beyond_max_tokens_loses_its_first():
  generator = make()
  ((found,), (whole,), (short,)) = generator.score_many(
    [('xxabc', ['de']), ('abc', ['de']), ('c', ['defg'])], max_tokens=5
  )
  assert found.log_prob == pytest.approx(whole.log_prob, abs=1e-5)
  assert short.log_prob == pytest.approx(generator.score('c', 'defg'), abs=1e-5)
  ((last,),) = generator.score_many([('abc', ['defg'])], max_tokens=2)
  assert last.log_prob == pytest.approx(short.log_prob, abs=1e-5)  # one token stays


def test_continuations_follow_the_same_part_of_a_context():
  generator = make()
  ((short, long),) = generator.score_many([('xxabc', ['d', 'defg'])], max_tokens=6)
  assert short.log_prob == pytest.approx(generator.score('bc', 'd'), abs=1e-5)
  assert long.log_prob == pytest.approx(generator.score('bc', 'defg'), abs=1e-5)


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


def test_scores_put_no_space_within_a_word():
  tokenizer = tokenizer_zoo.make('llama')
  generator = make(tokenizer)
  x = tokenizer.token_bytes.index(b'x')
  context = tokenizer.encode('saw the fo')
  expected = generator.engine.score(context, [x])
  assert generator.score('saw the fo', 'x') == pytest.approx(expected)


@pytest.mark.parametrize('kind', ['wordpiece', 'unigram', 'llama', 'word ends', 'bpe'])
def test_the_space_after_a_prompt_is_written(kind):
  tokenizer = tokenizer_zoo.make(kind)
  ids = tokenizer.encode('the fox saw')
  prompt = len(tokenizer.encode('the fox'))
  pieces = list(make(tokenizer)._pieces('the fox', ids[prompt:]))
  assert ''.join(pieces) == ' saw'
  assert ''.join(make(tokenizer)._pieces('', ids)) == tokenizer.decode(ids)


def test_tokens_of_the_objective_have_logits_but_stay_unwritten():
  generator = make(objective__name='span_corruption')
  num_ids = generator.engine.vocab_limit
  assert num_ids > 257
  assert generator.engine.logits(np.array([[num_ids - 1]])).shape == (1, 1, num_ids)
  for seed in range(3):
    generator.generate(['a'] * 4, max_new_tokens=16, temperature=50.0, seed=seed)


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
