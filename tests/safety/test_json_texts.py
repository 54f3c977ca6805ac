"""Texts of JSON are changed where they stand."""

import json
import random

import pytest

from gpt_jax.safety import json_texts

DOCUMENTS = (
  '{"a": "x", "b": ["y", {"x": "z"}],\t"x":1.50e+1, "e": {}, "n": [] }\r\n',
  r'["\u00e9 x", "\ud83d\ude00", "q\"}x", "\\", "", {"k\"": null}]',
  '"x"', ' 12 ', '[true, "x,y:z", [["x"]]]', '{"é": "é x", "a": "\\ud800 x"}',
)  # fmt: skip


def mapped(value):
  if isinstance(value, str):
    return value.replace('x', '[X]')
  if isinstance(value, dict):
    return {key: mapped(one) for key, one in value.items()}
  return [mapped(one) for one in value] if isinstance(value, list) else value


def value_of(rng, depth=3):
  kind = rng.choice('sssnld' if depth else 'sn')
  if kind == 's':
    return ''.join(rng.choices('x"\\/{}[],: \né中\U0001f600\ud800', k=rng.randrange(6)))
  if kind == 'n':
    return rng.choice([None, True, 0.5, -3])
  values = [value_of(rng, depth - 1) for _ in range(rng.randrange(4))]
  if kind == 'd':
    return {value_of(rng, 0) if i else 'k"x': one for i, one in enumerate(values)}
  return values


def written(number):
  rng = random.Random(number)
  value, spaces = value_of(rng), rng.choice([None, 2])
  return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=spaces)


@pytest.mark.parametrize('document', [*DOCUMENTS, *map(written, range(40))])
def test_texts_change_and_keys_and_numbers_stay(document):
  found = json_texts.change(document, lambda text: text.replace('x', '[X]'))
  assert json.loads(found) == mapped(json.loads(document))
  assert json_texts.change(document, str) == document


def test_what_does_not_change_keeps_its_bytes():
  document = '{"a" :"x", "b":"\\u00e9 x",  "b": 1.50, "c": "\\u00e9 é"}'
  found = json_texts.change(document, lambda text: text.replace('x', 'é'))
  assert (
    found == '{"a" :"\\u00e9", "b":"\\u00e9 \\u00e9",  "b": 1.50, "c": "\\u00e9 é"}'
  )


def test_fields_are_those_of_records():
  document = '{"a": "x", "b": {"a": "x", "c": ["x"]}, "c": "x"}'
  for given, wanted in (
    (document, '{"a": "x", "b": {"a": "y", "c": ["y"]}, "c": "x"}'),
    (f'[{document}, 1]', '[{"a": "x", "b": {"a": "y", "c": ["y"]}, "c": "x"}, 1]'),
  ):
    assert json_texts.change(given, lambda text: 'y', ('b',)) == wanted
