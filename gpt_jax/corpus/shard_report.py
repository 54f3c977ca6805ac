"""What is counted while one shard is made; `report.py` adds shards up."""

import heapq

import numpy as np

from gpt_jax.core.errors import DataError

MAX_LONGEST, MAX_EXAMPLES, EXCERPT_CHARS = 5, 5, 200
MAX_DAMAGED = 20  # that are listed

# ASCII white space: 9 to 13 and the space.
_IS_SPACE = np.zeros(256, bool)
_IS_SPACE[[9, 10, 11, 12, 13, 32]] = True
# First bytes of U+3000 to U+9FFF: Chinese characters and Japanese syllables, except ...
_IS_CHARACTER = np.zeros(256, bool)
_IS_CHARACTER[0xE3:0xEA] = True
_PUNCTUATION = b'\xe3\x80'  # ... for U+3000 to U+303F
_BLOCK = 1 << 20


class ShardReport:
  """Counts of one shard: what was read, written, empty, damaged and left out."""

  def __init__(self, num_steps):
    self._read = {'documents': 0, 'bytes': 0, 'empty': 0}
    self._splits = {}
    self._longest = []  # (tokens, -order, place, split)
    self._damaged = []
    self._left_out = [{} for _ in range(num_steps)]

  def read(self, num_bytes):
    self._read['documents'] += 1
    self._read['bytes'] += num_bytes

  def empty(self):
    """Counts a document without text, which has no tokens."""
    self._read['empty'] += 1

  def damaged(self, message):
    self._damaged.append(message)

  def require_fewer_damaged(self, limit):
    """Raises DataError for more damaged records than `limit`."""
    require_fewer_damaged(self._damaged, limit)

  def left_out(self, left, document, num_bytes, example):
    """Counts a document of which a step left out `num_bytes`.

    `example` returns what is to be seen of a document: of the first ones.
    """
    found = self._left_out[left.step].setdefault(
      left.reason, {'documents': 0, 'bytes': 0, 'examples': []}
    )
    found['documents'] += 1
    found['bytes'] += num_bytes
    if len(found['examples']) < MAX_EXAMPLES:
      text = example(document)[: 4 * EXCERPT_CHARS]
      text = ' '.join(text.split())[:EXCERPT_CHARS]
      example = {'place': document.place, 'text': text}
      if left.because_of >= 0:
        example['because_of'] = left.because_of
      found['examples'].append(example)

  def written(self, split, place, num_tokens, num_words):
    found = self._splits.setdefault(split, {'words': 0})
    found['words'] += num_words
    entry = (num_tokens, -self._read['documents'], place, split)
    if len(self._longest) < MAX_LONGEST:
      heapq.heappush(self._longest, entry)
    elif entry > self._longest[0]:
      heapq.heapreplace(self._longest, entry)

  def to_dict(self):
    longest = sorted(self._longest, reverse=True)
    return {
      'read': self._read,
      'splits': self._splits,
      'longest': [
        {'tokens': tokens, 'place': place, 'split': split}
        for tokens, _, place, split in longest
      ],
      'damaged': self._damaged,
      'left_out': self._left_out,
    }


def require_fewer_damaged(messages, limit):
  """Raises DataError for more damaged records than `limit`."""
  if len(messages) > limit:
    listed = '\n'.join(f'  {message}' for message in messages[:MAX_DAMAGED])
    raise DataError(
      f'data.max_corrupt_records={limit}: there are more damaged records:\n{listed}\n'
      'Allow more, or replace these files by good copies and prepare the corpus in a'
      ' new folder.'
    )


def count_words(content):
  """Returns how many words UTF-8 bytes have: what white space divides.

  Chinese and Japanese have none: each character is a word.
  """
  count, before = -content.count(_PUNCTUATION), True
  for start in range(0, len(content), _BLOCK):
    block = np.frombuffer(content[start : start + _BLOCK], np.uint8)
    is_space, is_character = _IS_SPACE[block], _IS_CHARACTER[block]
    is_other = ~(is_space | is_character)
    count += int(np.count_nonzero(is_character))
    count += int(np.count_nonzero(is_space[:-1] & is_other[1:]))
    count += int(before and is_other[0])
    before = bool(is_space[-1])
  return count
