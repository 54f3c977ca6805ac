"""Objects of JSON lines and JSON lists; what is none is named."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import json_files

OBJECTS = [{'text': 'eins', 'label': 1}, {'text': '二', 'label': None}]


def test_lines_and_lists_give_the_same_objects(write):
  lines = write('a.jsonl', OBJECTS)
  one_list = write('a.json', OBJECTS)
  found = list(json_files.read_lines([lines], 'utf-8'))
  assert [record.values for record in found] == OBJECTS
  assert [record.place for record in found] == [f'{lines}, line 1', f'{lines}, line 2']
  listed = list(json_files.read_list([one_list], 'utf-8'))
  assert [record.values for record in listed] == OBJECTS
  assert listed[1].place == f'{one_list}, object 2'
  both = json_files.read_any([lines, one_list], 'utf-8')
  assert [record.values for record in both] == OBJECTS * 2


@pytest.mark.parametrize(
  'text, message',
  [
    ('{"a": 1}\n{"a"', r"a.jsonl, line 2: not JSON .*'\{\"a\"'; expected an object"),
    ('[\n{"a": 1}\n]', 'line 1: not JSON .*set task.reader=json'),
    ('[{"a": 1}]', 'line 1: expected a JSON object, not .*set task.reader=json'),
    ('3', 'line 1: expected a JSON object, not 3'),
    ('[' * 100_000, 'line 1: JSON that is nested too deeply'),
  ],
)
def test_lines_that_are_no_objects_are_named(write, text, message):
  with pytest.raises(DataError, match=message):
    list(json_files.read_lines([write('a.jsonl', text)], 'utf-8'))


@pytest.mark.parametrize(
  'text, message',
  [
    ('[\n{"a": 1},\n{"a"]', 'a.json, line 3: not JSON'),
    ('{"a": 1}\n{"a": 2}', 'not JSON .*set task.reader=jsonl'),
    ('{"data": []}', 'expected a list of objects, .*set task.reader=squad'),
    ('[3]', 'a.json, object 1: expected a JSON object, not 3'),
  ],
)
def test_files_that_are_no_list_are_named(write, text, message):
  with pytest.raises(DataError, match=message):
    list(json_files.read_list([write('a.json', text)], 'utf-8'))
