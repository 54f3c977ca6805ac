"""Rows of tsv and csv, against Python's csv writer."""

import csv
import io

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import tables

ROWS = [
  ['text', 'label'],
  ['a "quoted" word', '1'],
  ['comma, and\nline', '0'],
  ['', 'x' * 200_000],
]


def written(rows):
  out = io.StringIO()
  csv.writer(out).writerows(rows)
  return out.getvalue()


def test_csv_gives_back_what_was_written(write):
  limit = csv.field_size_limit()
  found = list(tables.read_csv([write('a.csv', written(ROWS))], 'utf-8'))
  assert [list(record.values.values()) for record in found] == ROWS
  assert list(found[0].values) == ['0', '1']
  lines = [record.place.rpartition(' ')[2] for record in found]
  assert lines == ['1', '2', '3', '5']  # row 3 has two lines
  assert csv.field_size_limit() == limit


def test_a_header_gives_the_keys(write):
  (first, *_) = tables.read_csv_header([write('a.csv', written(ROWS))], 'utf-8')
  assert first.values == {'text': 'a "quoted" word', 'label': '1'}
  path = write('a.tsv', 'text\tlabel\r\n"no quotes\t1\r\n\r\n')
  (only,) = tables.read_tsv_header([path], 'utf-8')
  assert only.values == {'text': '"no quotes', 'label': '1'}
  assert only.place == f'{path}, line 2'


def test_fields_of_tsv_are_as_they_stand(write):
  found = list(tables.read_tsv([write('a.tsv', '"a, \tb"\n\t2\n')], 'utf-8'))
  assert [record.values for record in found] == [
    {'0': '"a, ', '1': 'b"'},
    {'0': '', '1': '2'},
  ]


@pytest.mark.parametrize(
  'read, text, message',
  [
    (tables.read_tsv, 'a\t1\nb\n', r"line 2: 1 columns \(\['b'\]\); expected 2, as in"),
    (tables.read_csv, 'a,1\nb,c,2\n', 'line 2: 3 columns .*a comma in it stands in'),
    (tables.read_csv_header, 'a,a\n1,2\n', "line 1: the header names 'a' twice"),
    (tables.read_csv, 'a,1\n"b,2\nc,3\n', 'line 2: not csv .*stands in quotes'),
  ],
)
def test_rows_of_another_form_are_named(write, read, text, message):
  with pytest.raises(DataError, match=message):
    list(read([write('a', text)], 'utf-8'))
