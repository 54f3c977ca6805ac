"""Documents that are copies of another one."""

import hashlib

import numpy as np

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import one_of, section
from gpt_jax.corpus import groups, words
from gpt_jax.corpus.step import GlobalStep, Removal

_RECORD = np.dtype(
  [('key', '<u8'), ('check', '<u8'), ('is_training', '?'), ('number', '<i8')]
)


@section
class Options:
  """What counts as the same text."""

  # bytes: every byte; spaces: not which spaces stand between words; words: nor case,
  # punctuation and the form of Unicode. Documents over 16 MB: bytes.
  same: str = one_of('bytes', 'spaces', 'words', default='spaces')


class Exact(GlobalStep):
  """Leaves out all of equal documents but one: the first held-out one, else the first.

  Training must not see what is held out.
  """

  dtype = np.dtype([('digest', '<u8', 2), ('is_training', '?')])

  def __init__(self, options, folder):
    self._same, self._folder = options.same, folder

  def survey(self, document):
    digest = document.digest[:16]
    if self._same != 'bytes' and document.is_whole:
      parts = words.words if self._same == 'words' else str.split
      joined = ' '.join(parts(document.text)).encode('utf-8', 'surrogatepass')
      digest = hashlib.blake2b(joined, digest_size=16).digest()
    return np.array((np.frombuffer(digest, '<u8'), document.is_training), self.dtype)

  def decide(self, surveys):
    order = ('key', 'check', 'is_training', 'number')
    for records in groups.slices(self._folder, _records(surveys), _RECORD, order):
      places, firsts = groups.later_members(records, ('key', 'check'))
      numbers = records['number']
      for goes, kept in zip(numbers[places], numbers[firsts], strict=True):
        yield Removal(int(goes), 'copy of another document', int(kept))


def _records(surveys):
  first = 0
  for survey in surveys:
    made = np.zeros(len(survey), _RECORD)
    made['key'], made['check'] = survey['digest'].T
    made['is_training'] = survey['is_training']
    made['number'] = np.arange(first, first + len(survey))
    first += len(survey)
    yield made


@entry(options=Options)
def make(options, context):
  """Returns the step."""
  return Exact(options, context.folder)
