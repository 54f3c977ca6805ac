"""Documents that do not look like prose, by the quality rules of MassiveText.

Rae et al. 2021, arXiv:2112.11446, appendix A.1, which has the limits as well. Its
number of words is the step `length`.
"""

from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, at_least, comma_separated, rate, section
from gpt_jax.corpus.step import HEAD_CHARS, Step

_BULLETS = ('\u2022', '\u2023', '\u25e6', '\u2043', '\u25cf', '\u25aa', '-', '*')
_ELLIPSES = ('...', '\u2026')
_EDGES = '.,;:!?"\'()[]{}<>\u201c\u201d\u2018\u2019'


@section
class Options:
  """Limits of the paper."""

  min_mean_word_chars: float = above(0.0, 3.0)
  max_mean_word_chars: float = above(0.0, 10.0)
  max_symbols_per_word: float = above(0.0, 0.1)  # of # and of ellipses, each
  max_bullet_lines: float = above(0.0, 0.9)
  max_ellipsis_lines: float = above(0.0, 0.3)
  min_alphabetic_words: float = rate(0.8)  # words with a letter in them
  min_stop_words: int = at_least(0, 2)  # 0 for languages other than English
  stop_words: tuple[str, ...] = comma_separated(
    ('the', 'be', 'to', 'of', 'and', 'that', 'have', 'with')
  )


class GopherQuality(Step):
  """Leaves out a document that breaks one of the rules."""

  def __init__(self, options):
    self._options = options
    self._stop_words = frozenset(word.lower() for word in options.stop_words)

  def keep(self, document):
    options, text = self._options, document.text[:HEAD_CHARS]
    # Words as people count them: what stands between spaces.
    words = text.split()
    if not words:
      return 'no words'
    mean_chars = sum(map(len, words)) / len(words)
    if mean_chars < options.min_mean_word_chars:
      return 'short words'
    if mean_chars > options.max_mean_word_chars:
      return 'long words'
    most = options.max_symbols_per_word * len(words)
    if text.count('#') > most:
      return 'many hash signs'
    if sum(map(text.count, _ELLIPSES)) > most:
      return 'many ellipses'
    lines = [line.strip() for line in text.splitlines() if not line.isspace() and line]
    bullets = _share(lines, lambda line: line.startswith(_BULLETS))
    if bullets > options.max_bullet_lines:
      return 'lines are a list'
    ellipses = _share(lines, lambda line: line.endswith(_ELLIPSES))
    if ellipses > options.max_ellipsis_lines:
      return 'lines end in ellipses'
    if _share(words, _has_letter) < options.min_alphabetic_words:
      return 'words without letters'
    if self._stop_word_count(words) < options.min_stop_words:
      return 'no stop words'
    return None

  def _stop_word_count(self, words):
    found = 0
    for word in words:
      found += word.strip(_EDGES).lower() in self._stop_words
      if found >= self._options.min_stop_words:
        break
    return found


def _share(items, holds):
  return sum(map(holds, items)) / len(items)


def _has_letter(word):
  return word.isalpha() or any(map(str.isalpha, word))


@entry(options=Options)
def make(options, context):
  """Returns the step."""
  del context
  return GopherQuality(options)
