"""`data.encoding`: corpora give UTF-8, whatever their files are in.

A file of another encoding is decoded as a stream into an unnamed temporary file, so it
is never in memory as a whole.
"""

import codecs
import itertools
import mmap
import tempfile

from gpt_jax.core.errors import ConfigError, DataError, Problem, StorageError
from gpt_jax.core.registry import nearest
from gpt_jax.data import encoding_guess

_BLOCK = 1 << 20
_SAMPLE_BYTES = 1 << 16
_COMMON_NAMES = (
  *('utf-8', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'latin-1', 'cp1252'),
  *('cp1251', 'koi8-r', 'gbk', 'gb18030', 'big5', 'shift_jis', 'euc_jp', 'euc_kr'),
)


def problems(data):
  """Returns what is wrong with `data.encoding`."""
  return name_problems(data.encoding)


def name_problems(encoding):
  """Returns what is wrong with `encoding`, that of a config."""
  try:
    # Python's registry has more than text: rot13, hex, zlib.
    if codecs.lookup(encoding)._is_text_encoding:
      return []
  except LookupError:
    pass
  hint = nearest(encoding.lower(), _COMMON_NAMES)
  rest = f'; did you mean {hint!r}?' if hint else ', such as utf-8, utf-16 or gb18030'
  text = f'={encoding!r}: expected a text encoding of Python{rest}'
  return [Problem('data.encoding', text)]


def check(data):
  """Raises ConfigError for an unknown `data.encoding`."""
  for problem in problems(data):
    raise ConfigError(f'{problem}.')


def is_utf8(encoding):
  return codecs.lookup(encoding).name == 'utf-8'


def fingerprint(encoding):
  """Returns the part of a source's fingerprint; {} for UTF-8."""
  return {} if is_utf8(encoding) else {'encoding': codecs.lookup(encoding).name}


def encode(text, what):
  """Returns `text` as UTF-8. Raises DataError, about `what`, for lone surrogates."""
  try:
    return text.encode()
  except UnicodeEncodeError as error:
    found, start = ord(text[error.start]), error.start
    kind = f'half a character (the lone surrogate \\u{found:04x})'
    if 0xDC80 <= found <= 0xDCFF:  # what Python makes of such bytes in a command line
      kind = f'a byte that is not UTF-8 (0x{found - 0xDC00:02X})'
    before = text[max(0, start - 20) : start]
    raise DataError(
      f'{what} has {kind} at position {start}, after {before!r}; give it in UTF-8.'
    ) from error


def decode(record, encoding, place):
  """Returns the text of one record's bytes. Raises DataError naming the bad one."""
  try:
    return str(record, encoding)
  except UnicodeError as error:
    start = getattr(error, 'start', 0)
    if is_utf8(encoding):
      raise not_utf8(place, start, getattr(error, 'reason', ''), record) from error
    raise _undecodable(place, encoding, start, error) from error


def to_utf8(record, encoding, place):
  """Returns one record's bytes in UTF-8; those that should be UTF-8 are not checked."""
  return record if is_utf8(encoding) else decode(record, encoding, place).encode()


def transcode(blocks, encoding, place):
  """Returns the text of `blocks`, the bytes of a file in order, as UTF-8.

  A memory map, b'' without text; a byte-order mark is dropped. Raises DataError for
  bytes that are not in `encoding`.
  """
  return unpack(transcoded(blocks, encoding, place))


def transcoded(blocks, encoding, place):
  """Yields the text of `blocks` as UTF-8; else as `transcode`."""
  decoder, position = codecs.getincrementaldecoder(encoding)(), 0
  for block in itertools.chain(blocks, [b'']):
    pending = len(decoder.getstate()[0])
    try:
      text = decoder.decode(block, not block)
      yield (text if position else text.removeprefix('\ufeff')).encode()
    except UnicodeError as error:
      start = position - pending + getattr(error, 'start', 0)
      raise _undecodable(place, encoding, start, error) from error
    position += len(block)


def _undecodable(place, encoding, start, error):
  reason = getattr(error, 'reason', str(error))
  return DataError(
    f'{place}: byte {start} is not in data.encoding={encoding!r} ({reason}).'
  )


def unpack(blocks):
  """Returns all bytes of `blocks` as a memory map; b'' without any."""
  with unpacked_file(blocks) as file:
    if not file.tell():
      return b''
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def unpacked_file(blocks):
  """Returns all bytes of `blocks` as an unnamed temporary file, at its end."""
  try:
    file = tempfile.TemporaryFile()
    for block in blocks:
      file.write(block)
    file.flush()
    return file
  except OSError as error:
    raise StorageError(
      f'{tempfile.gettempdir()}: cannot hold the unpacked text: {error.strerror}; set'
      ' TMPDIR to a folder with free space.'
    ) from error


def first_error(document):
  """Returns (position, reason) of the first byte that is not UTF-8; None without one.

  Takes bytes or a memory map, and decodes a block of it at a time.
  """
  decoder = codecs.getincrementaldecoder('utf-8')()
  for start in range(0, len(document), _BLOCK):
    pending = len(decoder.getstate()[0])
    end = start + _BLOCK
    try:
      decoder.decode(document[start:end], end >= len(document))
    except UnicodeDecodeError as error:
      return start - pending + error.start, error.reason
  return None


def not_utf8(place, position, reason, content):
  """Returns the DataError of a byte that is not UTF-8, with what `content` may be in.

  `content`: all of the file or record, as bytes or a memory map.
  """
  return DataError(
    f'{place}: byte {position} is not UTF-8 ({reason}):'
    f' {advice(content, position)}, or allow'
    ' data.max_corrupt_records records to be left out.'
  )


def advice(content, position):
  """Returns what `data.encoding` may be set to; arguments as those of `not_utf8`."""
  found = encoding_guess.suggest(_sample_around(content, position))
  if not found:
    return 'replace it by a good copy, or set data.encoding to what it is in'
  listed = ' or '.join(f'{name} ({shown!r})' for name, shown in found)
  return f'it may be {listed}; if that is the text, set data.encoding={found[0][0]}'


def _sample_around(content, position):
  """Returns bytes of `content` with `position` in them, from a character's start."""
  if position < _SAMPLE_BYTES // 2:
    return bytes(content[:_SAMPLE_BYTES])
  before = bytes(content[position - _SAMPLE_BYTES // 2 : position])
  # No encoding but UTF-16 and 32, which have errors early, uses them within characters.
  start = max(before.rfind(b' '), before.rfind(b'\n')) + 1
  return before[start:] + bytes(content[position : position + _SAMPLE_BYTES // 2])


def refuse_utf16(content, place):
  """Raises DataError for content that is UTF-16 or 32 although it may pass as UTF-8."""
  sample = bytes(content[:_SAMPLE_BYTES])
  if name := encoding_guess.utf16_name(sample):
    shown = encoding_guess.excerpt(str(sample[: len(sample) // 4 * 4], name, 'replace'))
    raise DataError(
      f'{place}: this is {name.upper()} ({shown!r}), not UTF-8: set'
      f' data.encoding={name}, or let data.max_corrupt_records records be left out.'
    )
