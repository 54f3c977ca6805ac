"""The documents of a corpus in parts that are read by themselves.

A part is a stretch of files, of bytes of a file, or of records, and no part has to be
read to find where another begins: so any number of processes share a corpus. Together
the parts have the documents of `gpt_jax.data`'s source of the same name, in its order.
"""

import codecs
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpt_jax import data as sources
from gpt_jax.core.errors import DataError
from gpt_jax.corpus import json_text
from gpt_jax.data import (
  array_records,
  encodings,
  files,
  json_lines,
  records,
  text_files,
)
from gpt_jax.data.file_bytes import FileBytes
from gpt_jax.storage import objects
from gpt_jax.storage.urls import is_remote

LONG_LINE = 32 << 20  # bytes; longer ones are not parsed as one
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Record:
  """A document as it was read."""

  place: str
  content: Any  # its text or prompt in UTF-8, as bytes or FileBytes; ids of a language
  document: dict[str, Any] | None = None  # with fields, see `data/documents.py`

  def digest(self):
    """Returns the sha256 of `content`."""
    if isinstance(self.content, np.ndarray):
      return hashlib.sha256(self.content.tobytes()).digest()
    digest = hashlib.sha256()
    for start in range(0, len(self.content), _BLOCK):
      digest.update(self.content[start : start + _BLOCK])
    return digest.digest()


class Reader:
  """Base of the readers; each holds one split of a corpus, or all that is divided."""

  fingerprint: dict[str, Any]
  num_bytes: int
  vocab_size: int | None = None  # of documents that are ids
  fields: tuple[str, ...] = ()
  num_labels: int | None = None

  def parts(self, part_bytes) -> list[tuple[int, int, int]]:
    """Returns the parts of about `part_bytes`, each three numbers."""
    raise NotImplementedError

  def records(self, part) -> Iterator[Record | DataError]:
    """Yields the documents of a part; a DataError in place of each damaged one."""
    raise NotImplementedError

  def has_at_least(self, count):
    """Returns whether there are `count` documents."""
    counted = (self.records(part) for part in self.parts(_BLOCK))
    return sum(1 for _ in itertools.islice(itertools.chain(*counted), count)) == count


def _open_bytes(path, encoding):
  """Returns the text of a file in UTF-8 as FileBytes; unpacked, without its BOM."""
  if not encodings.is_utf8(encoding):
    blocks = encodings.transcoded(files.blocks(path), encoding, path)
    return FileBytes(encodings.unpacked_file(blocks))
  if path.name.endswith('.gz'):
    file = encodings.unpacked_file(files.blocks(path))
  else:
    # Of a bucket every read is a request: the library's file reads ahead.
    try:
      file = path.open('rb') if is_remote(path) else path.open('rb', buffering=0)
    except OSError as error:
      raise DataError(f'{path} cannot be read: {error.strerror or error}.') from error
  content = FileBytes(file)
  encodings.refuse_utf16(content, path)
  return FileBytes(file, 3) if content[:3] == codecs.BOM_UTF8 else content


def _blocks(path, encoding):
  """Yields the text of a file in UTF-8, without its BOM."""
  blocks = files.blocks(path)
  if not encodings.is_utf8(encoding):
    yield from encodings.transcoded(blocks, encoding, path)
    return
  yield next(blocks, b'').removeprefix(codecs.BOM_UTF8)
  yield from blocks


class TextReader(Reader):
  """A document a file; a part is (first file, end, 0)."""

  def __init__(self, paths, data):
    self._paths, self._encoding = paths, data.encoding
    self.fingerprint = files.fingerprint(paths) | encodings.fingerprint(data.encoding)
    self.num_bytes = self.fingerprint['bytes']

  def parts(self, part_bytes):
    found, first, size = [], 0, 0
    for i, path in enumerate(self._paths, start=1):
      size += objects.file_size(path)
      if size >= part_bytes or i == len(self._paths):
        found.append((first, i, 0))
        first, size = i, 0
    return found

  def records(self, part):
    for path in self._paths[part[0] : part[1]]:
      try:
        yield Record(str(path), _open_bytes(path, self._encoding))
      except DataError as error:
        yield error

  def has_at_least(self, count):
    return len(self._paths) >= count


class LinesReader(Reader):
  """A JSON object a line; a part is (file, first byte, end), of lines that begin there.

  Packed files and those of other encodings are a part each.
  """

  def __init__(self, paths, data):
    self._paths, self._encoding = paths, data.encoding
    self._record, self._text_field = records.Record(data), data.text_field
    self.fields, self.num_labels = self._record.fields, self._record.num_labels
    self.fingerprint = {**files.fingerprint(paths), **self._record.fingerprint}
    self.num_bytes = self.fingerprint['bytes']

  def parts(self, part_bytes):
    found = []
    for i, path in enumerate(self._paths):
      size = objects.file_size(path)
      count = max(1, round(size / part_bytes))
      if path.name.endswith('.gz') or not encodings.is_utf8(self._encoding):
        count = 1
      bounds = [size * k // count for k in range(count + 1)]
      found += [(i, *pair) for pair in itertools.pairwise(bounds)]
    return found

  def records(self, part):
    file, start, stop = part
    path = self._paths[file]
    content = _open_bytes(path, self._encoding)
    is_whole = path.name.endswith('.gz') or not encodings.is_utf8(self._encoding)
    stop = len(content) if is_whole else min(stop, len(content))
    for begin, end, line in _lines(content, start, stop):
      place = f'{path} (byte {begin})'
      try:
        yield self._parsed(content, begin, end, line, place)
      except DataError as error:
        yield error

  def has_at_least(self, count):
    found = 0
    for path in self._paths:
      rest = b''
      for block in _blocks(path, self._encoding):  # a packed file is not unpacked whole
        *lines, rest = (rest + block).split(b'\n')
        found += sum(bool(line.strip()) for line in lines)
        rest = rest.strip()[:1]  # of a long line: that it is not blank
        if found >= count:
          return True
      found += bool(rest)
    return found >= count

  def _parsed(self, content, begin, end, line, place):
    if line is None:
      if self.fields:
        raise DataError(
          f'{place}: a line of {(end - begin) / 1e6:.0f} MB, longer than'
          f' {LONG_LINE / 1e6:.0f} MB, which is read for data.text_field alone; divide'
          ' it into several records.'
        )
      stretch = content.stretch(begin, end)
      blocks = json_text.stream(stretch, self._text_field, place)
      return Record(place, FileBytes(encodings.unpacked_file(blocks)))
    found = json_lines.json_object(line, place)
    text = self._record.first_text(found, place).encode()
    return Record(
      place, text, self._record.document(found, place) if self.fields else None
    )


def _lines(content, start, stop):
  """Yields (begin, end, bytes) of the lines of FileBytes that begin within a stretch.

  Blank ones are left out; the bytes of one of more than LONG_LINE are None.
  """
  position = start
  if start:  # a line that begins before belongs to the part before
    position = _line_end(content, start - 1, stop) + 1
  block, offset = b'', position
  while position < stop:
    inside = position - offset
    found = block.find(b'\n', inside)
    if found < 0 and offset + len(block) < len(content):
      if len(block) - inside > LONG_LINE:
        end = _line_end(content, offset + len(block), len(content))
        yield position, end, None
        position = offset = end + 1
        block = b''
      else:
        size = max(_BLOCK, len(block) - inside)  # doubled: long lines in linear time
        stop_block = offset + len(block)
        block = block[inside:] + content[stop_block : stop_block + size]
        offset = position
      continue
    end = offset + found if found >= 0 else len(content)
    line = block[inside : found if found >= 0 else len(block)]
    if line.strip():
      yield position, end, line
    position = end + 1


def _line_end(content, position, stop):
  """Returns where the next line feed is, from `position` on and before `stop`; or that.

  No part looks further than its end: a line may be as long as the file.
  """
  while position < stop:
    block = content[position : min(position + _BLOCK, stop)]
    if (found := block.find(b'\n')) >= 0:
      return position + found
    position += len(block)
  return stop


class ArrayRecordReader(Reader):
  """Records of ArrayRecord files; a part is (file, first record, end)."""

  def __init__(self, paths, data):
    self._corpus = array_records.open_corpus(paths, data)
    self._ends = [0, *(int(end) for end in self._corpus.ends)]
    self._sizes = [objects.file_size(path) for path in paths]
    self.fields, self.num_labels = self._corpus.fields, self._corpus.num_labels
    self.fingerprint, self.num_bytes = self._corpus.fingerprint, self._corpus.num_bytes

  def parts(self, part_bytes):
    found = []
    for i, size in enumerate(self._sizes):
      total = self._ends[i + 1] - self._ends[i]
      count = min(total, max(1, round(size / part_bytes)))
      bounds = [total * k // count for k in range(count + 1)] if count else []
      found += [(i, *pair) for pair in itertools.pairwise(bounds)]
    return found

  def records(self, part):
    file, start, stop = part
    for i in range(self._ends[file] + start, self._ends[file] + stop):
      place = self._corpus.place(i)
      try:
        document = self._corpus.record(i) if self.fields else None
        yield Record(place, self._corpus.document(i), document)
      except DataError as error:
        yield error

  def has_at_least(self, count):
    return self._ends[-1] >= count


class SourceReader(Reader):
  """Documents of any `Source`; a part is (0, first document, end)."""

  def __init__(self, data):
    self._source = sources.make_source(data)
    self.fields, self.num_labels = self._source.fields, self._source.num_labels
    self.vocab_size = self._source.vocab_size
    described = self._source.fingerprint
    self.fingerprint = {k: v for k, v in described.items() if k != 'source'}
    self.num_bytes = self._source.num_bytes or 0

  def parts(self, part_bytes):
    total = len(self._source)
    count = min(total, max(1, round(self.num_bytes / part_bytes)))
    bounds = [total * k // count for k in range(count + 1)] if count else []
    return [(0, *pair) for pair in itertools.pairwise(bounds)]

  def records(self, part):
    _, start, stop = part
    for i in range(start, stop):
      place = self._source.place(i) or f'document {i}'
      try:
        yield _record(self._source, i, place)
      except DataError as error:
        yield error


def _record(source, i, place):
  document = source[i]
  if 'tokens' in document and not source.fields:
    return Record(place, document['tokens'])
  text = text_of(document)
  return Record(
    place, encodings.encode(text, place), document if source.fields else None
  )


def text_of(document):
  """Returns the text of a document, its parts with line feeds between."""
  if 'parts' in document:
    return '\n'.join(part for part, _ in document['parts'] if isinstance(part, str))
  if 'prompt' in document:
    return f'{document["prompt"]}\n{document["response"]}'
  return document.get('text', '')


FILE_READERS = {
  'text': (text_files.SUFFIXES, TextReader),
  'jsonl': (json_lines.SUFFIXES, LinesReader),
  'array_record': (array_records.SUFFIXES, ArrayRecordReader),
}
"""Name of a source of files -> (their suffixes, its reader)."""
