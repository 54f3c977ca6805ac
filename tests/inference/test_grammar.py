"""Texts match what is asked of them, whatever a model that knows nothing writes."""

import json
import re

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from gpt_jax.inference import grammar
from gpt_jax.inference.text import TextGenerator
from tests import small_models as small
from tests.inference.json_schemas import SCHEMAS

SEEDS = range(2)
CHARS = CharTokenizer(''.join(map(chr, range(32, 127))))
REGEXES = [
  '[0-9]+', 'a+b', '(ab)*c', r'\d{3}-\d{4}', '^abc$', '(yes|no|maybe)', 'a|b{30}',
  '(foo|barbaz)+qux{2,5}', '[a-z]*[.]', '.*x', '(a|b)*abb', '[^a-z]{4}', 'x?y?z?w',
  r'\w+@\w+\.(com|org)', '#[0-9a-f]{6}', r'(\([0-9]{3}\) )?[0-9]{3}', 'é{2,3}/"',
]  # fmt: skip


def write(maker, tokenizer, seed):
  """Returns the text of a model that draws any of the allowed ids."""
  rng, guide, ids = np.random.default_rng(seed), maker.start(np.array([0])), []
  for _ in range(maker.max_new_tokens):
    bits_V = np.unpackbits(guide.allowed().view(np.uint8), bitorder='little')
    allowed = np.flatnonzero(bits_V)
    assert len(allowed) and allowed[-1] < tokenizer.vocab_size
    token_id = int(rng.choice(allowed))
    if token_id == tokenizer.eos_id:
      break
    ids.append(token_id)
    if guide.take(token_id):
      break
  return tokenizer.decode(ids)


def make(kind, value, limit, tokenizer):
  (maker,) = grammar.make({kind: value}, limit, tokenizer)
  return maker


def least(kind, value, tokenizer):
  """Returns the smallest limit of tokens that is taken."""
  limit = 1
  while True:
    try:
      make(kind, value, limit, tokenizer)
      return limit
    except ConfigError as error:
      assert limit < 200, value
      told = re.search(r'has (\d+) tokens', str(error))
      limit = int(told[1]) if told else limit + 1


CHOICES = ['yes', 'no', 'not at all', 'é!', 'yes, 100%']


@pytest.mark.parametrize('more', [0, 2, 20])
def test_a_text_is_one_of_the_choices(more):
  tokenizer = ByteTokenizer()
  limit = max(len(text.encode()) for text in CHOICES) + more
  maker = make('choices', CHOICES, limit, tokenizer)
  found = {write(maker, tokenizer, seed) for seed in range(40)}
  assert found == set(CHOICES)


def test_choices_that_cannot_be_written_are_named():
  with pytest.raises(ConfigError, match="'é' cannot be written: the char tokenizer"):
    make('choices', ['a', 'é'], 9, CHARS)
  with pytest.raises(ConfigError, match="'abc' .* it has 3 tokens, more than max_new"):
    make('choices', ['abc'], 2, CHARS)
  for wrong in ([], 'yes', ['a', 3], ['']):
    with pytest.raises(ConfigError, match='expected a list of texts, none of them emp'):
      make('choices', wrong, 9, CHARS)


def test_a_text_follows_one_grammar():
  assert grammar.make({'regex': None, 'choices': None}, 9, CHARS) == ()
  with pytest.raises(ConfigError, match='regex and choices: expected one of them'):
    grammar.make({'regex': 'a', 'choices': ['a']}, 9, CHARS)


def test_equal_grammars_are_equal_requests():
  one, same, other = (make('choices', [x], 9, CHARS) for x in ('a', 'a', 'b'))
  assert one == same and hash(one) == hash(same) and one != other


@pytest.fixture(scope='module')
def llguidance():
  return pytest.importorskip('llguidance', reason='needs the extra [constrained]')


@pytest.mark.slow
@pytest.mark.parametrize('tokenizer', [ByteTokenizer(), CHARS], ids=['byte', 'char'])
@pytest.mark.parametrize('pattern', REGEXES)
def test_a_text_matches_its_regular_expression(pattern, tokenizer, llguidance):
  if tokenizer is CHARS and not pattern.isascii():
    pytest.skip('needs characters that this vocabulary lacks')
  for limit in (first := least('regex', pattern, tokenizer), first + 3, first + 40):
    maker = make('regex', pattern, limit, tokenizer)
    for seed in SEEDS:
      text = write(maker, tokenizer, seed)
      assert re.fullmatch(pattern, text), (limit, text)


def test_there_are_fifty_schemas():
  assert len(SCHEMAS) == 50


@pytest.mark.slow
@pytest.mark.parametrize('name', SCHEMAS)
def test_a_text_is_valid_json_of_its_schema(name, llguidance):
  jsonschema = pytest.importorskip('jsonschema', reason='needs the extra [test]')
  tokenizer, schema = ByteTokenizer(), SCHEMAS[name]
  for limit in (first := least('json_schema', schema, tokenizer), first + 30):
    maker = make('json_schema', schema, limit, tokenizer)
    for seed in SEEDS:
      text = write(maker, tokenizer, seed)
      jsonschema.validate(json.loads(text), schema)


@pytest.mark.slow
def test_tokens_of_several_characters_are_kept_to_the_schema(llguidance):
  jsonschema = pytest.importorskip('jsonschema', reason='needs the extra [test]')
  from gpt_jax.data import bpe

  texts = ['{"name": "some words", "age": 12}, [true, null]'] * 3
  tokenizer = bpe.train(texts, 300)
  for name in ('person', 'tree', 'order', 'open object'):
    maker = make('json_schema', SCHEMAS[name], 70, tokenizer)
    for seed in SEEDS:
      jsonschema.validate(json.loads(write(maker, tokenizer, seed)), SCHEMAS[name])


WRONG = [
  ('regex', '(', 'regex: unclosed group'),
  ('regex', '(?=a)b', 'look-around'),
  ('regex', r'(a)\1', 'backreferences are not supported'),
  ('regex', 'a{200}', 'no text of up to 100 characters was found'),
  ('regex', 'é', 'the char tokenizer of 95 ids lacks characters'),
  ('regex', '', 'expected an expression'),
  ('json_schema', '{"type":', 'json_schema: no JSON'),
  ('json_schema', '3', 'expected a JSON object'),
  ('json_schema', {'a': {1}}, 'holds what is no JSON'),
  ('json_schema', False, 'nothing matches it'),
  ('json_schema', {'type': 'objct'}, 'Invalid type: objct'),
  ('json_schema', {'type': 'array', 'uniqueItems': True}, 'Unimplemented keys'),
  ('json_schema', {'type': 'string', 'minLength': 5, 'maxLength': 3}, 'Unsatisfiable'),
  ('json_schema', {'type': 'string', 'minLength': 500}, 'the shortest text .* 502 tok'),
  ('json_schema', {'type': 'string', 'pattern': 'xyz'}, 'no text was found'),
  (
    'json_schema',
    {'type': 'object', 'properties': {'a': {'$ref': '#'}}, 'required': ['a']},
    'no text was found',
  ),
]


@pytest.mark.slow
@pytest.mark.parametrize('kind, value, message', WRONG)
def test_what_cannot_be_met_is_said_before_anything_runs(
  kind, value, message, llguidance
):
  with pytest.raises(ConfigError, match=message):
    make(kind, value, 100, CHARS)


def test_a_missing_package_names_its_extra(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'llguidance', None)
  with pytest.raises(ConfigError, match=r"pip install 'gpt_jax\[constrained\]'"):
    make('regex', 'a', 9, CharTokenizer('abc'))


@pytest.fixture(scope='module')
def untrained():
  """Returns the TextGenerator of a model of bytes that knows nothing."""
  config = small.resolve(model__vocab_size=257, model__max_seq_len=256)
  params = small.random_params(small.make_gpt(config))
  return TextGenerator(config, params, ByteTokenizer())


@pytest.mark.slow
def test_choices_are_kept_in_a_batch_of_other_texts(untrained):
  settings = dict(temperature=1.0, max_new_tokens=12)
  texts = untrained.generate(['a', 'b'], choices=CHOICES, **settings)
  assert set(texts) <= set(CHOICES)
  assert untrained.generate('b', choices=CHOICES, **settings) == texts[1]
  assert ''.join(untrained.stream('b', choices=CHOICES, **settings)) == texts[1]


@pytest.mark.slow
def test_a_model_writes_json_of_a_schema(untrained, llguidance):
  jsonschema = pytest.importorskip('jsonschema', reason='needs the extra [test]')
  for name in ('person', 'tree', 'order'):
    for temperature in (0.0, 1.0):
      texts = untrained.generate(
        ['', 'a'], json_schema=SCHEMAS[name], max_new_tokens=90, temperature=temperature
      )
      for text in texts:
        jsonschema.validate(json.loads(text), SCHEMAS[name])


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(regex='a', choices=['a']), 'regex and choices: a text follows one of them'),
    (dict(choices=['a'], stop='b'), 'stop: not with choices'),
    (dict(choices=['a'], beams=2), 'beams: not with choices'),
    (dict(choices=['a'] * 9, max_new_tokens=0), 'more than max_new_tokens=0'),
  ],
)
def test_options_that_contradict_a_grammar_are_named(untrained, options, message):
  with pytest.raises(ConfigError, match=message):
    untrained.generate('a', **options)
