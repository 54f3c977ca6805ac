"""Fields of records as text."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.templates import printed


@pytest.mark.parametrize(
  'name, values, expected',
  [
    ('text', {'text': 'a'}, 'a'),
    ('label', {'label': 0}, '0'),
    ('words', {'words': ['a', 'b']}, 'a b'),
    ('answers', {'answers': [{'text': '7', 'start': 3}, {'text': '8'}]}, '7'),
    ('targets', {'targets': ['x', 'y']}, 'x'),
    ('targets', {'targets': 'x'}, 'x'),
    ('history', {'history': ['A', 'B']}, 'A; B'),
    ('choices', {'choices': ['yes', 'no']}, 'A. yes\nB. no'),
    ('letter', {'choices': ['yes', 'no'], 'label': 1}, 'B'),
    ('choice', {'choices': ['yes', 'no'], 'label': '1'}, 'no'),
    ('head', {'text': 'Ada saw Eve', 'head': (0, 3)}, 'Ada'),
    ('tail', {'text': 'Ada saw Eve', 'tail': [8, 11]}, 'Eve'),
  ],
)
def test_each_kind_of_field_has_a_text(name, values, expected):
  assert printed.value(name, values) == expected


@pytest.mark.parametrize(
  'tags, expected',
  [
    ('B-PER I-PER O B-LOC', 'PER: a b; LOC: d'),
    ('B-PER B-PER O O', 'PER: a; PER: b'),
    ('O O O O', 'none'),
    ('I-PER I-LOC O I-LOC', 'PER: a; LOC: b; LOC: d'),  # IOB1, or a damaged span
    ('B-ORG M-ORG E-ORG S-ORG', 'ORG: a b c; ORG: d'),
    ('B-A-B I-A-B O O', 'A-B: a b'),
  ],
)
def test_entities_are_listed_with_their_kind(tags, expected):
  values = {'words': ['a', 'b', 'c', 'd'], 'tags': tags.split()}
  text = printed.value('entities', values)
  assert text == expected
  found = printed.entities(values['words'], values['tags'])
  assert printed.parse_entities(text) == found


def test_chinese_words_have_no_spaces_between_them():
  values = {'words': ['王', '芳', '来'], 'tags': ['B-NAME', 'E-NAME', 'O']}
  assert printed.value('words', values, 'zh') == '王芳来'
  assert printed.value('entities', values, 'zh') == 'NAME: 王芳'
  nobody = {'words': ['来'], 'tags': ['O']}
  assert printed.parse_entities(printed.value('entities', nobody, 'zh')) == []


def test_a_written_list_of_entities_is_read_line_by_line():
  assert printed.parse_entities(' PER: Ada;LOC: ; : x; PER: Ada\nORG: later') == [
    ('PER', 'Ada')
  ]


@pytest.mark.parametrize(
  'name, values',
  [
    ('answers', {'answers': []}),
    ('letter', {'choices': ['a'], 'label': -1}),
    ('letter', {'choices': ['a'], 'label': 1}),
    ('choices', {'choices': ['a'] * 27}),
    ('entities', {'words': ['a'], 'tags': ['O', 'O']}),
    ('head', {'text': 'a', 'head': 3}),
    ('text', {'text': None}),
  ],
)
def test_values_of_another_form_are_errors(name, values):
  with pytest.raises(DataError, match='cannot be printed from'):
    printed.value(name, values)


def test_a_missing_field_is_a_key_error():
  with pytest.raises(KeyError, match='label'):
    printed.value('letter', {'choices': ['a']})
