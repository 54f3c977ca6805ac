"""Files read from a position on: growing, replaced, with half a line at their end."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.opinion import sources


def lines(source, limit=99):
  return [line for _, line in source.read(limit)]


def test_a_file_is_read_in_parts_and_from_a_saved_position(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(b'1\n2\r\n\n3\n4')
  first = sources.FileSource(path)
  assert lines(first, 2) == [b'1', b'2']
  second = sources.FileSource(path, first.position)
  assert lines(second) == [b'3', b'4']
  assert lines(second) == []


def test_a_growing_file_waits_for_the_end_of_a_line(tmp_path):
  path = tmp_path / 'a.jsonl'
  source = sources.FileSource(path, follow=True)
  assert lines(source) == []  # not there yet
  path.write_bytes(b'{"a": 1}\n{"b"')
  assert lines(source) == [b'{"a": 1}']
  with open(path, 'ab') as file:
    file.write(b': 2}\n')
  assert lines(source) == [b'{"b": 2}']
  assert source.notes == []


def test_a_replaced_file_is_read_from_its_start(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(b'old 1\nold 2\n')
  source = sources.FileSource(path, follow=True)
  lines(source)
  position = source.position
  path.write_bytes(b'new 1\n')
  assert lines(source) == [b'new 1'] and 'another file' in source.notes[0]
  path.write_bytes(b'new 1, longer than before\nand more\n')
  again = sources.FileSource(path, position, follow=True)
  assert len(lines(again)) == 2


def test_a_line_without_end_is_cut_not_kept_in_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(sources, 'MAX_BYTES', 8)
  path = tmp_path / 'a.jsonl'
  path.write_bytes(b'x' * 100 + b'\nshort\n')
  source = sources.FileSource(path)
  long, short = lines(source)
  assert len(long) == 9 and short == b'short'


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(DataError, match='--input=.*none.jsonl: no such file'):
    sources.FileSource(tmp_path / 'none.jsonl')
