"""Documents that repeat themselves, by the measures of MassiveText.

Rae et al. 2021, arXiv:2112.11446, appendix A.1 and table A1, which has the limits. A
line, paragraph or n-gram is a duplicate where the same one stands earlier in the
document. Shares of n-grams are of the characters of words, without spaces; no character
counts twice.
"""

import re

import numpy as np

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, section
from gpt_jax.corpus import words
from gpt_jax.corpus.step import HEAD_CHARS, Step

_PARAGRAPHS = re.compile(r'\n\s*\n')


@section
class Options:
  """The largest shares that stay, as the paper has them; 1 switches one off."""

  duplicate_lines: float = above(0.0, 0.30)
  duplicate_paragraphs: float = above(0.0, 0.30)
  duplicate_line_chars: float = above(0.0, 0.20)
  duplicate_paragraph_chars: float = above(0.0, 0.20)
  top_2gram: float = above(0.0, 0.20)
  top_3gram: float = above(0.0, 0.18)
  top_4gram: float = above(0.0, 0.16)
  duplicate_5grams: float = above(0.0, 0.15)
  duplicate_6grams: float = above(0.0, 0.14)
  duplicate_7grams: float = above(0.0, 0.13)
  duplicate_8grams: float = above(0.0, 0.12)
  duplicate_9grams: float = above(0.0, 0.11)
  duplicate_10grams: float = above(0.0, 0.10)


class GopherRepetition(Step):
  """Leaves out a document with one share above its limit, and names the first."""

  def __init__(self, options):
    self._options = options
    self._hashes = words.WordHashes()

  def keep(self, document):
    for name, share in shares(document.text[:HEAD_CHARS], self._hashes):
      if share > getattr(self._options, name):
        return _REASONS[name]
    return None


_REASONS = {
  'duplicate_lines': 'duplicate lines',
  'duplicate_paragraphs': 'duplicate paragraphs',
  'duplicate_line_chars': 'characters in duplicate lines',
  'duplicate_paragraph_chars': 'characters in duplicate paragraphs',
  **{f'top_{n}gram': f'one {n}-gram again and again' for n in (2, 3, 4)},
  **{f'duplicate_{n}grams': f'duplicate {n}-grams' for n in range(5, 11)},
}


def shares(text, hashes):
  """Yields (name in Options, share) of all measures, the cheap ones first."""
  lines = [line.strip() for line in text.split('\n')]
  paragraphs = [part.strip() for part in _PARAGRAPHS.split(text)]
  for kind, parts in (('line', lines), ('paragraph', paragraphs)):
    parts = [part for part in parts if part]
    count, chars = duplicates(parts)
    yield f'duplicate_{kind}s', count / max(len(parts), 1)
    yield f'duplicate_{kind}_chars', chars / max(sum(map(len, parts)), 1)
  found = words.words(text)
  ids, sizes = hashes(found), np.fromiter(map(len, found), np.int64, len(found))
  total = max(int(sizes.sum()), 1)
  for n in (2, 3, 4):
    yield f'top_{n}gram', top_ngram_chars(ids, sizes, n) / total
  chars = total
  for n in range(5, 11):
    # Of an n-gram that stands earlier, so do all shorter ones in it.
    chars = duplicate_ngram_chars(ids, sizes, n) if chars else 0
    yield f'duplicate_{n}grams', chars / total


def duplicates(parts):
  """Returns (how many of `parts` stand earlier among them, their characters)."""
  seen, count, chars = set(), 0, 0
  for part in parts:
    if part in seen:
      count, chars = count + 1, chars + len(part)
    seen.add(part)
  return count, chars


def top_ngram_chars(ids, sizes, n):
  """Returns the characters in the most frequent n-gram; 0 where none is twice there.

  Of several that are as frequent, that with the most characters.

  Args:
    ids: uint64 [W], a hash of each word; `sizes`: int64 [W], characters of each.
  """
  grams = words.ngrams(ids, n)
  if len(grams) < 2:
    return 0
  order = np.argsort(grams)  # any order of equal ones
  in_order = grams[order]
  starts = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1]))
  counts = np.diff(starts, append=len(grams))
  most = int(counts.max())
  if most < 2:
    return 0
  ends = np.concatenate([[0], np.cumsum(sizes)])
  tied = starts[counts == most]
  chars = ends[order[tied] + n] - ends[order[tied]]
  start = tied[np.argmax(chars)]
  return int(sizes[words.covered(order[start : start + most], n, len(ids))].sum())


def duplicate_ngram_chars(ids, sizes, n):
  """Returns the characters in n-grams that stand earlier too, each counted once."""
  grams = words.ngrams(ids, n)
  in_order = np.sort(grams)
  if not np.any(in_order[1:] == in_order[:-1]):  # as nearly always
    return 0
  firsts = np.unique(grams, return_index=True)[1]
  repeated = np.delete(np.arange(len(grams)), firsts)
  return int(sizes[words.covered(repeated, n, len(ids))].sum())


@entry(options=Options)
def make(options, context):
  """Returns the step."""
  del context
  return GopherRepetition(options)
