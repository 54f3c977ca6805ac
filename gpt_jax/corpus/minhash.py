"""Documents that are nearly those of another one: MinHash signatures in bands.

So MassiveText (Rae et al. 2021, arXiv:2112.11446, A.1) and FineWeb (Penedo et al.
2024, arXiv:2406.17557) were made; `signatures.py` has the method. With the options as
they are, of pairs with 90 % of their n-grams in common all are compared, with 80 %
nearly all (0.95), with half few (0.06); those that are less alike than the threshold
then stay.
"""

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import between, section
from gpt_jax.corpus import groups, signatures
from gpt_jax.corpus.step import GlobalStep, Removal


@section
class Options:
  """How alike two documents have to be."""

  threshold: float = between(0.05, 1.0, 0.8)  # Jaccard similarity of sets of n-grams
  ngram_words: int = between(1, 64, 5)
  bands: int = between(2, 256, 16)  # documents that agree in one of them are compared
  rows: int = between(1, 64, 8)  # hashes of a band; fewer find less alike pairs


class NearDuplicates(GlobalStep):
  """Leaves out all of near-duplicates but one: the first held-out one, else the first.

  What is alike through others (A and B, B and C) is one group. Documents over 16
  MB are compared by their beginnings.
  """

  def __init__(self, options, folder):
    self._options, self._folder = options, folder
    self._minhash = signatures.MinHash(
      ngram_words=options.ngram_words, bands=options.bands, rows=options.rows
    )
    bits = ('bits', 'u1', -(-options.bands * options.rows // 8))
    keys = ('keys', '<u8', options.bands)
    self.dtype = np.dtype([keys, bits, ('has_words', '?'), ('is_training', '?')])
    self._record = np.dtype([('key', '<u8'), bits, ('number', '<i8')])

  def survey(self, document):
    survey = np.zeros((), self.dtype)
    survey['is_training'] = document.is_training
    signature = self._minhash.signature(document.text)
    if signature is not None:
      survey['has_words'] = True
      survey['keys'] = self._minhash.keys(signature[None])[0]
      survey['bits'] = self._minhash.bits(signature[None])[0]
    return survey

  def decide(self, surveys):
    blocks, order = self._records(surveys), ('key', 'number')
    found = [np.zeros((0, 2), np.int64)]
    for records in groups.slices(self._folder, blocks, self._record, order):
      found.append(self._alike(records))
    pairs = np.unique(np.concatenate(found), axis=0)
    numbers = np.unique(pairs)
    is_held_out = _is_held_out(surveys, numbers)
    for goes, kept in groups.stays(pairs, numbers, is_held_out):
      yield Removal(int(goes), 'near-duplicate of another document', int(kept))

  def _records(self, surveys):
    first = 0
    for survey in surveys:
      made = np.zeros((len(survey), self._options.bands), self._record)
      made['key'], made['bits'] = survey['keys'], survey['bits'][:, None]
      made['number'] = np.arange(first, first + len(survey))[:, None]
      first += len(survey)
      yield made[survey['has_words']].ravel()

  def _alike(self, records):
    """Returns int64 [P, 2]: numbers of documents as alike as the first of their key."""
    places, firsts = groups.later_members(records, ('key',))
    bits, numbers = records['bits'], records['number']
    similarity = self._minhash.similarity(bits[places], bits[firsts])
    is_alike = similarity >= self._options.threshold
    return np.stack([numbers[firsts[is_alike]], numbers[places[is_alike]]], axis=1)

  def describe(self):
    recall = self._minhash.recall(self._options.threshold)
    return {'compared_at_threshold': round(recall, 3)}


def _is_held_out(surveys, numbers):
  """Returns bool [len(numbers)] of document `numbers`, which rise."""
  found, first = [np.zeros(0, bool)], 0
  for survey in surveys:
    low, high = np.searchsorted(numbers, [first, first + len(survey)])
    found.append(~survey['is_training'][numbers[low:high] - first])
    first += len(survey)
  return np.concatenate(found)


@entry(options=Options)
def make(options, context):
  """Returns the step. Raises ConfigError for bands that miss most of what is meant."""
  step = NearDuplicates(options, context.folder)
  if (recall := step.describe()['compared_at_threshold']) < 0.5:
    count = options.bands * options.rows
    rows = signatures.rows_for(options.threshold, count)
    raise ConfigError(
      f'--step=minhash:threshold={options.threshold}: bands={options.bands} of'
      f' rows={options.rows} compare only {recall:.1%} of such pairs; try'
      f' rows={rows}:bands={count // rows}.'
    )
  return step
