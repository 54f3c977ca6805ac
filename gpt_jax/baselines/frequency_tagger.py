"""A tagger that gives each word its most frequent training tag.

Words that training has not seen are tagged by their ending and shape, as words that it
saw once were (Brants 2000, "TnT", section 2.3).
"""

import collections
import dataclasses
import re

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned, tag_schemes

OUTSIDE = 'O'


@dataclasses.dataclass(frozen=True)
class FrequencyTagger:
  """Most frequent tags: of words, and of properties of rare words."""

  tag_of_word: dict[str, str]
  tag_of_property: dict[tuple[str, str], str]

  def predict(self, sentences):
    """Returns valid IOB2 tags of each sentence, a list of words."""
    return [
      tag_schemes.to_iob2([self.tag(word) for word in words]) for words in sentences
    ]

  def tag(self, word):
    """Returns the tag of one `word`, O where nothing of it was seen."""
    if word in self.tag_of_word:
      return self.tag_of_word[word]
    for one in properties(word):
      if one in self.tag_of_property:
        return self.tag_of_property[one]
    return OUTSIDE


def fit(sentences, tags):
  """Returns the `FrequencyTagger` of training sentences and their tags.

  Args:
    sentences: a list of lists of words.
    tags: of each sentence a list of tags of any scheme of `tag_schemes`.

  Of equally frequent tags the one seen first counts. Raises DataError on no sentences,
  other lengths or tags of no scheme.
  """
  aligned.require_aligned('The tagger', sentences=sentences, tags=tags)
  by_word = collections.defaultdict(collections.Counter)
  for row, (words, own) in enumerate(zip(sentences, tags, strict=True)):
    own = _converted(words, own, row)
    for word, tag in zip(words, own, strict=True):
      by_word[word][tag] += 1
  by_property = collections.defaultdict(collections.Counter)
  for word, counts in by_word.items():
    if counts.total() == 1:
      for one in properties(word):
        by_property[one].update(counts)
  return FrequencyTagger(_most_frequent(by_word), _most_frequent(by_property))


def properties(word):
  """Returns what is known of an unseen `word`, the most special first.

  Ending and shape together, for endings of 3, 2 and 1 letters; then the shape.
  """
  form = shape(word)
  endings = [word[-length:].lower() for length in (3, 2, 1) if len(word) > length]
  return [(form, ending) for ending in endings] + [(form, '')]


def shape(word):
  """Returns the kinds of characters in `word`, repeats left out: `Xx` for `Berlin`.

  X: upper case, x: other letters, 9: digits; all else stands for itself.
  """
  kinds = re.sub(r'[^\W\d_]', lambda found: 'X' if found[0].isupper() else 'x', word)
  return re.sub(r'(.)\1+', r'\1', re.sub(r'\d', '9', kinds))


def _converted(words, tags, row):
  """Returns `tags` as IOB2; raises DataError that names the sentence `row`."""
  if len(words) != len(tags):
    raise DataError(
      f'The tagger: sentence {row} has {len(words)} words and {len(tags)} tags;'
      ' expected one a word.'
    )
  try:
    return tag_schemes.to_iob2(tags)
  except DataError as error:
    raise DataError(f'The tagger: sentence {row}: {error}') from error


def _most_frequent(counts):
  return {key: own.most_common(1)[0][0] for key, own in counts.items()}
