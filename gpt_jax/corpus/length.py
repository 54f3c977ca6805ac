"""Documents that are too short or too long, in characters or words."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import at_least, section
from gpt_jax.corpus import words
from gpt_jax.corpus.step import LONG_BYTES, Step


@section
class Options:
  """The least and the most that a document may have; 0: no limit."""

  min_chars: int = at_least(0, 0)
  max_chars: int = at_least(0, 0)
  # MassiveText (Rae et al. 2021, arXiv:2112.11446, A.1): 50 to 100,000 words.
  min_words: int = at_least(0, 50)
  max_words: int = at_least(0, 100_000)


class Length(Step):
  """Leaves out what is shorter or longer than its options say."""

  def __init__(self, options):
    self._chars = options.min_chars, options.max_chars
    self._words = options.min_words, options.max_words

  def keep(self, document):
    # The text of a very long document is its beginning, and the rest is like it.
    times = 1 if document.is_whole else document.num_bytes / LONG_BYTES
    if reason := _outside(len(document.text) * times, *self._chars, 'characters'):
      return reason
    if any(self._words):
      count = sum(map(len, words.blocks(document.text, 0)))
      return _outside(count * times, *self._words, 'words')
    return None


def _outside(count, low, high, what):
  if count < low:
    return f'too few {what}'
  return f'too many {what}' if high and count > high else None


@entry(options=Options)
def make(options, context):
  """Returns the step. Raises ConfigError where no length is allowed."""
  del context
  for unit in ('chars', 'words'):
    low, high = getattr(options, f'min_{unit}'), getattr(options, f'max_{unit}')
    if high and low > high:
      raise ConfigError(
        f'--step=length:min_{unit}={low}: expected at most max_{unit}={high}.'
      )
  return Length(options)
