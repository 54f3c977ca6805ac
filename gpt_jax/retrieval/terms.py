"""Terms of a text for BM25: English words without their plural, Chinese characters.

Chinese is indexed without a dictionary, by characters and pairs of neighbours (Kwok,
1997, doi 10.1145/258525.258531: pairs find about as much as words do).
"""

import re
import unicodedata

from gpt_jax.evaluation import chinese

STOP_WORDS = frozenset(
  """a about after all also am an and any are as at be because been before being but by
  can could did do does doing for from had has have having he her here him his how i if
  in into is it its just me more most my no nor not of on once or our out over own she
  should so some such than that the their them then there these they this those through
  to too under until up very was we were what when where which while who whom whose why
  will with would you your""".split()
)
_RUN = re.compile(rf'[{chinese.LETTER}]+|[^\W_{chinese.LETTER}]+')


def words(text):
  """Returns the words of a text in order, folded; a Han character is one by itself."""
  return chinese.character_tokens(unicodedata.normalize('NFKC', text))


def count(text):
  """Returns how long a text is: words and Han characters."""
  return len(words(text))


def terms(text):
  """Returns the terms of a text, with repeats.

  English stop words are left out, unless there is nothing else.
  """
  folded = unicodedata.normalize('NFKC', text).casefold()
  runs = _RUN.findall(folded)
  found = [run for run in runs if run not in STOP_WORDS] or runs
  made = []
  for run in found:
    if re.match(f'[{chinese.LETTER}]', run):
      made += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
    else:
      made.append(singular(run))
  return made


def singular(word):
  """Returns a word without the ending of an English plural.

  The three rules of the S stemmer (Harman, 1991, doi 10.1002/(SICI)1097-4571(199101)
  42:1<7::AID-ASI2>3.0.CO;2-P, figure 1), the first that fits.
  """
  if word.endswith('ies') and not word.endswith(('eies', 'aies')):
    return word[:-3] + 'y' if len(word) > 3 else word
  if word.endswith('es') and not word.endswith(('aes', 'ees', 'oes')):
    return word[:-1]
  if word.endswith('s') and not word.endswith(('us', 'ss')) and len(word) > 2:
    return word[:-1]
  return word
