"""Parts of a corpus: each document once, wherever it is cut, however long a line is."""

import gzip
import io
import json
import random

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.corpus import json_text, readers
from gpt_jax.data import encodings, files
from gpt_jax.data.file_bytes import FileBytes
from tests.corpus import corpora


def lines_reader(path, **overrides):
  data = corpora.config({'data.source': 'jsonl', **overrides}).data
  return readers.LinesReader([path], data)


def read(reader, parts):
  """Returns the texts of all documents of `parts`."""
  found = [one for part in parts for one in reader.records(part)]
  return [bytes(one.content[:]).decode() for one in found]


@pytest.mark.parametrize('block', [1 << 20, 16])
def test_every_line_is_in_one_part_wherever_it_is_cut(tmp_path, monkeypatch, block):
  monkeypatch.setattr(readers, '_BLOCK', block)
  texts = corpora.texts(12)
  corpora.write_lines(tmp_path / 'a.jsonl', [{'text': text} for text in texts])
  reader = lines_reader(tmp_path / 'a.jsonl')
  size = (tmp_path / 'a.jsonl').stat().st_size
  for cut in range(0, size + 1, 3):
    assert read(reader, [(0, 0, cut), (0, cut, size)]) == texts, cut


def test_parts_follow_the_size_that_is_asked_for(tmp_path):
  texts = corpora.texts(60)
  corpora.write_lines(tmp_path / 'a.jsonl', [{'text': text} for text in texts])
  reader = lines_reader(tmp_path / 'a.jsonl')
  size = (tmp_path / 'a.jsonl').stat().st_size
  for wanted in (100, 1000, 10 * size):
    parts = reader.parts(wanted)
    assert len(parts) == max(1, round(size / wanted))
    assert read(reader, parts) == texts


@pytest.mark.parametrize('block', [12, 13, 40, 1 << 20])
def test_a_line_too_long_to_parse_gives_the_same_text(tmp_path, monkeypatch, block):
  monkeypatch.setattr(json_text, '_BLOCK', block)
  monkeypatch.setattr(readers, '_BLOCK', block)
  monkeypatch.setattr(readers, 'LONG_LINE', 30)
  rng = random.Random(block)
  parts = ['a', '"', '\\', '\n', 'é', '中', '😀', '\u2028', ' ', '\t', '/', '}', ':']
  texts, records = [], []
  for _ in range(30):
    texts.append('x' + ''.join(rng.choices(parts, k=rng.randint(0, 60))))
    record = {'n': -1.5e3, 'l': {'text': 'no', 'l': [1, {'a': []}, '}'], 'e': {}}}
    record |= {'y"z': None, 'text': texts[-1], 'z': [True]}
    records.append(dict(rng.sample(list(record.items()), len(record))))
  corpora.write_lines(tmp_path / 'a.jsonl', records)
  reader = lines_reader(tmp_path / 'a.jsonl')
  assert read(reader, reader.parts(1 << 30)) == texts


@pytest.mark.parametrize(
  'line, expected',
  [
    (b'{"a": 1}', "no field 'text'"),
    (b'{"text": 1}', 'is no text'),
    (b'{"text": "ab', 'a string without end'),
    (b'[1]', 'expected one of {'),
    (b'{"text": "\\ud83d"}', 'half a character'),
    (b'{"text": "\\ud83d \\ude00"}', 'half a character'),
    (b'{"text": "\\udc00"}', 'half a character'),
    (b'{"text": "\\u12"}', 'a damaged escape'),
    (b'{"text": "a\nb"}', 'control character'),
    (b'{"text": "\xff"}', 'not JSON'),
    (b'{"a": [1, 2', 'a value without end'),
    (b'', 'expected one of {'),
  ],
)
def test_a_damaged_long_line_is_named(line, expected):
  with pytest.raises(DataError, match='here: ') as caught:
    list(json_text.stream(FileBytes(io.BytesIO(line)), 'text', 'here'))
  assert expected in str(caught.value)


def test_a_damaged_line_does_not_hide_those_after_it(tmp_path):
  (tmp_path / 'a.jsonl').write_text('{"text": "a"}\n{"text": \n{"text": "b"}')
  reader = lines_reader(tmp_path / 'a.jsonl')
  first, second, third = [one for p in reader.parts(99) for one in reader.records(p)]
  assert (first.content, third.content) == (b'a', b'b')
  assert isinstance(second, DataError) and '(byte 14)' in str(second)


def test_a_long_line_with_other_fields_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(readers, 'LONG_LINE', 8)
  monkeypatch.setattr(readers, '_BLOCK', 16)
  line = json.dumps({'question': 'a' * 99, 'answer': 'b'})
  (tmp_path / 'a.jsonl').write_text(line)
  reader = lines_reader(
    tmp_path / 'a.jsonl',
    **{'data.prompt_field': 'question', 'data.response_field': 'answer'},
  )
  (found,) = reader.records((0, 0, len(line)))
  assert isinstance(found, DataError) and 'divide it into several' in str(found)


def test_whether_there_are_many_documents_is_read_from_few(tmp_path):
  corpora.write_lines(tmp_path / 'a.jsonl', [{'text': str(i)} for i in range(20)])
  reader = lines_reader(tmp_path / 'a.jsonl')
  assert reader.has_at_least(20) and not reader.has_at_least(21)


def test_one_long_line_in_many_parts_is_read_a_few_times(tmp_path, monkeypatch):
  monkeypatch.setattr(readers, '_BLOCK', 64)
  monkeypatch.setattr(readers, 'LONG_LINE', 256)
  monkeypatch.setattr(json_text, '_BLOCK', 64)
  monkeypatch.setattr(encodings, '_SAMPLE_BYTES', 64)
  text = 'some words ' * 2000
  (tmp_path / 'a.jsonl').write_text(json.dumps({'text': text}) + '\n')
  size, count = (tmp_path / 'a.jsonl').stat().st_size, 0
  usual = FileBytes._read

  def counted(self, start, length):
    nonlocal count
    count += length
    return usual(self, start, length)

  monkeypatch.setattr(FileBytes, '_read', counted)
  reader = lines_reader(tmp_path / 'a.jsonl')
  assert not reader.has_at_least(2)
  parts = reader.parts(500)
  found = [one for part in parts for one in reader.records(part)]
  assert len(parts) > 40 and len(found) == 1
  assert count < 6 * size


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  path = tmp_path / 'a.jsonl'
  corpora.write_lines(path, [{'text': 'a'}])
  reader = lines_reader(path)
  path.unlink()
  with pytest.raises(DataError, match='a.jsonl cannot be read: No such file'):
    next(reader.records((0, 0, 9)))


@pytest.mark.parametrize('block', [3, 7, 1 << 20])
def test_lines_are_counted_as_far_as_they_have_to_be(tmp_path, monkeypatch, block):
  monkeypatch.setattr(files, '_BLOCK', block)
  text = '\ufeff\n{"text": "a"}\n \n\n{"text": "b"}\n{"text": "c"}'.encode()
  (tmp_path / 'a.jsonl').write_bytes(text)
  (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress(text))
  (tmp_path / 'c.jsonl').write_bytes(text.decode('utf-8-sig').encode('utf-16'))
  for name in ('a.jsonl', 'b.jsonl.gz', 'c.jsonl'):
    encoding = 'utf-16' if name == 'c.jsonl' else 'utf-8'
    reader = lines_reader(tmp_path / name, **{'data.encoding': encoding})
    assert [reader.has_at_least(n) for n in (1, 3, 4)] == [True, True, False]
