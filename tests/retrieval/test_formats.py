"""Formats of documents."""

import json

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.retrieval import formats
from gpt_jax.retrieval.formats import Section


def test_headings_of_markdown_stand_under_those_above():
  text = """before

# Orders
one

two

## Returns ##
three
# Other
four
"""
  assert formats.markdown(text, 'a.md') == [
    Section('', ('before',)),
    Section('Orders', ('one', 'two')),
    Section('Orders > Returns', ('three',)),
    Section('Other', ('four',)),
  ]


def test_underlined_headings_and_fences_are_markdown():
  text = 'Title\n=====\na\n\nPart\n----\n```sh\n# no heading\n\nx\n```\nb\n'
  assert formats.markdown(text, 'a.md') == [
    Section('Title', ('a',)),
    Section('Title > Part', ('```sh\n# no heading\n\nx\n```', 'b')),
  ]


def test_plain_text_is_paragraphs():
  assert formats.plain('a\nb\r\n\r\nc\n \n', 'a.txt') == [Section('', ('a\nb', 'c'))]


def test_html_has_sections_by_its_headings():
  assert formats.html('<h1>A</h1><h3>B</h3><p>x</p><h2>C</h2><p>y</p>', 'a.html') == [
    Section('A > B', ('x',)),
    Section('A > C', ('y',)),
  ]


def test_json_lines_have_a_title_or_none():
  text = '{"text": "a\\n\\nb", "title": "T"}\n\n{"text": "c"}\n'
  assert formats.json_lines(text, 'a.jsonl') == [
    Section('T', ('a', 'b')),
    Section('', ('c',)),
  ]


@pytest.mark.parametrize('line', ['[1]', '{"title": "t"}', '{', '{"text": 1}'])
def test_a_line_that_is_no_document_is_named(line):
  with pytest.raises(DataError, match='a.jsonl, line 2'):
    formats.json_lines('{"text": "a"}\n' + line, 'a.jsonl')


def test_articles_of_squad_are_sections():
  article = {'title': 'T', 'paragraphs': [{'context': 'a'}, {'context': 'b'}]}
  text = json.dumps({'data': [article]})
  assert formats.squad(text, 'a.json') == [Section('T', ('a', 'b'))]
  with pytest.raises(DataError, match="SQuAD's layout"):
    formats.squad('{"data": 1}', 'a.json')
