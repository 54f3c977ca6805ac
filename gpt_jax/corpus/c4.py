"""Pages that C4 leaves out.

Raffel et al. 2020, arXiv:1910.10683, section 2.2: placeholder text, code, pages of few
sentences, and three sentences in a row that stand twice. C4 looks for those in the
whole corpus and deletes one of the two; here a page goes that repeats its own
(`minhash` compares pages). C4's rules for lines, which change pages, are not here.
"""

import re

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, at_least, section
from gpt_jax.corpus.step import HEAD_CHARS, Step

_UNSPACED_ENDS = '\u3002\uff01\uff1f'  # of Chinese and Japanese
_ENDS = '.!?"' + _UNSPACED_ENDS
_SENTENCE_ENDS = re.compile(f'(?<=[{_ENDS}])\\s+|(?<=[{_UNSPACED_ENDS}])')
_SPAN = 3


@section
class Options:
  """The rules, each of which may be switched off."""

  min_sentences: int = at_least(0, 3)
  lorem_ipsum: bool = True
  curly_brackets: bool = True  # of programs; they are rare in prose
  max_repeated_spans: float = above(0.0, 0.1)  # of runs of three sentences; 1: any


class C4(Step):
  """Leaves out pages that break a rule."""

  def __init__(self, options):
    self._options = options

  def keep(self, document):
    options, text = self._options, document.text
    if options.curly_brackets and '{' in text:
      return 'curly brackets'
    if options.lorem_ipsum and 'lorem ipsum' in text.lower():
      return 'lorem ipsum'
    found = sentences(text[:HEAD_CHARS])
    if len(found) < options.min_sentences:
      return 'too few sentences'
    if repeated_spans(found) > options.max_repeated_spans:
      return 'three sentences again'
    return None


def sentences(text):
  """Returns the sentences of `text`; a line that ends without a mark is none."""
  lines = text.split('\n')
  parts = (part.strip() for line in lines for part in _SENTENCE_ENDS.split(line))
  return [part for part in parts if part and part[-1] in _ENDS]


def repeated_spans(found):
  """Returns the share of runs of three sentences that stand earlier in the page too."""
  spans = list(zip(*(found[i:] for i in range(_SPAN)), strict=False))
  return 1 - len(set(spans)) / len(spans) if spans else 0.0


@entry(options=Options)
def make(options, context):
  """Returns the step."""
  del context
  return C4(options)
