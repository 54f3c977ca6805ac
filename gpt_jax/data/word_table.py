"""Ids of texts from those of their words: each word is tokenized once.

A byte-level BPE never merges across words, and a corpus has few different ones. Words
of up to 16 bytes, nearly all where spaces are between them, are two 64-bit numbers, and
all words of a million characters are looked up at once.
"""

import threading

import numpy as np

from gpt_jax.data.key_table import KeyTable, distinct
from gpt_jax.data.word_splits import WordSplitter

MIN_CHARS = 1 << 14  # of texts, from which on it is worth it
_BATCH_CHARS = 1 << 20
_TABLE_BITS = 21
_MAX_WORDS = 1 << 20  # that are kept; those that are frequent come early
_LONG = 16  # bytes; longer words are looked up one by one
_MAX_LONG_SHARE = 0.15  # above it, as in Chinese, the library is as fast
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)


def fits(config):
  """Returns whether ids follow from words, by the JSON of a tokenizer."""
  parts = config['pre_tokenizer'] or {}
  divides_as_gpt2 = (
    parts.get('type') == 'ByteLevel'
    and parts.get('use_regex', True)
    and not parts['add_prefix_space']
  )
  return (
    divides_as_gpt2
    and config['normalizer'] is None
    and not config['model'].get('dropout')
    and all(token['special'] for token in config['added_tokens'])
  )


class WordTable:
  """The words that have been seen, and their ids."""

  def __init__(self, pre_tokenizer, encode):
    """`encode(texts) -> [ids]` tokenizes texts as they are."""
    self._splitter, self._encode = WordSplitter(pre_tokenizer), encode
    self._lock = threading.Lock()
    self._short, self._long = KeyTable(_TABLE_BITS), {}
    self._ids, self._num_ids = np.zeros(1 << 16, np.int32), 0  # of word after word
    self._first, self._num_words = np.zeros(1 << 16, np.int64), 0  # where each begins
    self._count = np.zeros(1 << 16, np.int64)

  def encode_batch(self, texts):
    """Returns the ids of each text, int32."""
    found, batch, size = [], [], 0
    with self._lock:
      for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_CHARS:
          found += self._encode_some(batch)
          batch, size = [], 0
      return found + self._encode_some(batch)

  def _encode_some(self, texts):
    joined = ''.join(texts)
    try:
      content = joined.encode()
    except UnicodeEncodeError:
      return self._encode(texts)  # which says what is wrong
    if not content or b'\0' in content:  # as keys, words end at their first zero
      return self._encode(texts)
    ends = np.cumsum([len(text) for text in texts])
    is_ascii = len(content) == len(joined)
    points = np.frombuffer(
      content if is_ascii else joined.encode('utf-32-le'),
      np.uint8 if is_ascii else np.uint32,
    )
    starts = self._splitter.starts(points, np.unique(ends[ends > 0]))
    places = starts if is_ascii else _places(points, starts)
    lengths = np.diff(places, append=len(content))
    is_long = lengths > _LONG
    if np.count_nonzero(is_long) > _MAX_LONG_SHARE * len(lengths):
      return self._encode(texts)
    words = self._numbers(content, places, lengths, is_long)
    ids, token_ends = self._ids_of(words)
    bounds = np.concatenate([[0], token_ends])[np.searchsorted(starts, ends)]
    return np.split(ids, bounds[:-1])

  def _ids_of(self, words):
    """Returns (ids of words in a row, how many there are at the end of each word)."""
    counts = self._count[words]
    ends = np.cumsum(counts, dtype=np.int64)
    places = np.repeat(self._first[words] - (ends - counts), counts)
    places += np.arange(len(places))
    return self._ids[places], ends

  def _numbers(self, content, places, lengths, is_long):
    """Returns the number of each word. New ones get one, kept while space is left."""
    padded = np.frombuffer(content + bytes(_LONG), np.uint8)
    eights = np.ndarray((len(padded) - 7,), '<u8', padded, strides=(1,))
    low = eights[places] & _MASKS[np.minimum(lengths, 8)]
    high = eights[places + 8] & _MASKS[np.clip(lengths - 8, 0, 8)]
    words = self._short.find(low, high)
    known, known_ids = self._num_words, self._num_ids
    keeps = known < _MAX_WORDS
    missing = np.flatnonzero((words < 0) & ~is_long)
    if len(missing):
      firsts, inverse = distinct(low[missing], high[missing])
      new = missing[firsts]
      numbers = self._append(
        [content[p : p + n] for p, n in zip(places[new], lengths[new], strict=True)]
      )
      words[missing] = numbers[inverse]
      if keeps:
        self._short.insert(low[new], high[new], numbers)
    added = self._add_long(content, places, lengths, is_long, words)
    if not keeps:  # their ids stay where they are until other words are added
      self._num_words, self._num_ids = known, known_ids
      for word in added:
        del self._long[word]
    return words

  def _add_long(self, content, places, lengths, is_long, words):
    """Fills in the numbers of longer words; returns those that are new."""
    where = np.flatnonzero(is_long)
    spelled = [content[places[i] : places[i] + lengths[i]] for i in where]
    new = list(dict.fromkeys(word for word in spelled if word not in self._long))
    if new:
      self._long.update(zip(new, self._append(new).tolist(), strict=True))
    words[where] = [self._long[word] for word in spelled]
    return new

  def _append(self, words):
    """Tokenizes words; returns their numbers."""
    encoded = self._encode([str(word, 'utf-8') for word in words])
    counts = np.array([len(ids) for ids in encoded])
    numbers = np.arange(self._num_words, self._num_words + len(words))
    end, stop = self._num_ids + int(counts.sum()), self._num_words + len(words)
    self._ids = _with_room(self._ids, end)
    self._first, self._count = (
      _with_room(self._first, stop),
      _with_room(self._count, stop),
    )
    self._ids[self._num_ids : end] = np.concatenate(encoded)
    self._first[numbers] = self._num_ids + np.cumsum(counts) - counts
    self._count[numbers] = counts
    self._num_ids, self._num_words = end, stop
    return numbers


def _with_room(values, size) -> np.ndarray:
  """Returns `values`, in a larger array where it has less than `size`."""
  if size <= len(values):
    return values
  more = np.zeros(max(size, len(values)), values.dtype)
  return np.concatenate([values, more])


def _places(points, starts):
  """Returns where characters `starts` are in the UTF-8 bytes of `points`."""
  sizes = np.ones(len(points), np.int64)
  for first in (0x80, 0x800, 0x10000):
    sizes += points >= first
  return np.concatenate([[0], np.cumsum(np.add.reduceat(sizes, starts))[:-1]])
