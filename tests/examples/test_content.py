"""Texts of files: encodings, line ends, byte-order marks, what is refused."""

import codecs
import gzip

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.examples import content

CHINESE = '这家酒店的服务态度很好，房间也很干净，下次还会再来。\n' * 5


def test_line_ends_and_byte_order_marks_do_not_count(write):
  plain = content.lines(write('a.txt', 'one\n\ntwo\n'), 'utf-8')
  assert plain == ['one', '', 'two']
  marked = codecs.BOM_UTF8 + b'one\r\n\r\ntwo'
  for name, written in (('b.txt', marked), ('c.txt.gz', gzip.compress(marked))):
    assert content.lines(write(name, written), 'utf-8') == plain


def test_lines_are_cut_at_line_feeds_alone(write):
  text = 'a\u2028b\x85c\x0bd\re'
  assert content.lines(write('a.txt', text + '\n'), 'utf-8') == [text]


def test_filled_lines_have_their_places(write):
  path = write('a.txt', '\none\n \ntwo')
  assert list(content.filled_lines(path, 'utf-8')) == [
    (f'{path}, line 2', 'one'),
    (f'{path}, line 4', 'two'),
  ]


@pytest.mark.parametrize('encoding', ['gbk', 'utf-16', 'utf-16-le'])
def test_other_encodings_are_named_and_then_read(write, encoding):
  path = write('a.txt', (CHINESE + 'abc' * 200).encode(encoding))
  named = 'gb18030' if encoding == 'gbk' else encoding
  with pytest.raises(DataError, match=rf'a.txt: .*set data.encoding={named}'):
    content.text_of(path, 'utf-8')
  assert content.text_of(path, named) == CHINESE + 'abc' * 200


@pytest.mark.parametrize(
  'written, encoding, message',
  [
    (b'', 'utf-8', 'is empty .0 bytes.; give'),
    (b'\xff\xff', 'utf-8', 'byte 0 is not UTF-8'),
    (b'\xff\xff', 'gbk', "byte 0 is not in data.encoding='gbk'"),
  ],
)
def test_damaged_files_are_refused(write, written, encoding, message):
  with pytest.raises(DataError, match=message):
    content.text_of(write('a.txt', written), encoding)


def test_damaged_gzip_folders_and_unknown_names_are_refused(write, tmp_path):
  with pytest.raises(DataError, match='a.gz is not a readable gzip file'):
    content.text_of(write('a.gz', b'no gzip'), 'utf-8')
  with pytest.raises(DataError, match='is a folder; give the files'):
    content.text_of(tmp_path, 'utf-8')
  with pytest.raises(ConfigError, match="data.encoding='gkb'.*did you mean 'gbk'"):
    content.text_of(write('a.txt', 'a'), 'gkb')
