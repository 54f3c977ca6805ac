"""Values are checked as JSON Schema says, and errors name the field and the limit."""

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_jax.serving import fields, schema
from gpt_jax.serving.errors import ApiError

NAMES = st.sampled_from(['type', 'text', 'role', 'content', 'include_usage'])
NUMBERS = st.integers(-5, 200) | st.floats(-3, 200)
VALUES = st.recursive(
  st.none() | st.booleans() | NUMBERS | st.text('ab', max_size=3),
  lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
  max_leaves=6,
)
TABLES = {
  name: getattr(fields, name)
  for name in ('COMPLETIONS', 'CHAT', 'EMBEDDINGS', 'CLASSIFY', 'TOKENIZE')
}


def problem(value, rules):
  try:
    schema.check(value, rules, 'x')
  except ApiError as error:
    assert error.status == 400 and error.param
    return error
  return None


@pytest.mark.parametrize('table', TABLES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_checks_agree_with_jsonschema(table, data):
  rules = TABLES[table]['properties']
  name = data.draw(st.sampled_from(sorted(rules)))
  value = data.draw(VALUES)
  is_right = jsonschema.Draft202012Validator(rules[name]).is_valid(value)
  assert (problem(value, rules[name]) is None) == is_right, (name, value)


def test_the_tables_are_json_schemas():
  for table in TABLES.values():
    jsonschema.Draft202012Validator.check_schema(table)


@pytest.mark.parametrize(
  'field, value, said',
  [
    ('max_tokens', -1, 'at least 0'),
    ('max_tokens', 2**63, 'at most'),
    ('max_tokens', 1.5, 'whole number'),
    ('max_tokens', True, 'whole number'),
    ('n', 0, 'at least 1'),
    ('temperature', '1', 'number'),
    ('top_p', 1.01, 'at most 1'),
    ('stop', [''], 'at least 1'),
    ('prompt', [1, 'a'], 'x[1]'),
    ('logit_bias', {'5': 'a'}, 'x.5'),
  ],
)
def test_errors_say_what_was_expected(field, value, said):
  found = problem(value, fields.COMPLETIONS['properties'][field])
  assert said in found.message


def test_an_unknown_field_is_named_with_the_nearest():
  asked = {'model': 'm', 'prompt': 'a', 'max_token': 3}
  found = problem(asked, fields.COMPLETIONS)
  assert found.param == 'x.max_token' and 'max_tokens' in found.message
  assert found.code == 'unsupported_parameter'


def test_a_missing_field_is_named():
  assert problem({'model': 'm'}, fields.COMPLETIONS).param == 'x.prompt'


def test_whole_numbers_may_be_written_with_a_point():
  found = schema.check(3.0, fields.COMPLETIONS['properties']['max_tokens'], 'x')
  assert found == 3 and isinstance(found, int)
