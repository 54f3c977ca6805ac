"""The rules that a policy file can have: their fields, and the detectors they make.

A new type of rule is an entry of RULES: a class whose `fields` say what stands in the
file, and whose `detectors(name, action)` are made anew for each text.
"""

import functools

from gpt_jax.core.errors import ConfigError
from gpt_jax.safety import redaction
from gpt_jax.safety.regex_detector import LinearRegex, RegexDetector
from gpt_jax.safety.rule_fields import Field, natural, share, text, texts
from gpt_jax.safety.span_filter import Span
from gpt_jax.safety.windows import Windows
from gpt_jax.safety.word_list import WordDetector, WordList


class WordsRule:
  """Words and phrases, of the file itself and of a text file with one a line."""

  fields = {
    'words': Field(texts, default=()),
    'file': Field(text, default=None),
    'label': Field(text, default='[REMOVED]'),
  }

  def __init__(self, options, models):
    del models
    words = [*options['words'], *_lines(options)]
    self._words, self._label = WordList(words), options['label']
    if not self._words.words:
      raise ConfigError('words: there are none; give `words`, or `file`, one a line.')

  def detectors(self, name, action):
    return [WordDetector(self._words, name, action, self._label)]


def _lines(options):
  if options['file'] is None:
    return []
  path = options['folder'] / options['file']
  try:
    lines = path.read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise ConfigError(
      f'file={options["file"]!r}: cannot read {path}: {error}; expected a UTF-8 text'
      ' with a word a line.'
    ) from error
  return [line for line in lines if not line.startswith('#')]


class RegexRule:
  """Regular expressions; of a match the last `longest` characters."""

  fields = {
    'patterns': Field(texts),
    'ignore_case': Field(bool, default=False),
    'longest': Field(natural, default=200),
    'label': Field(text, default='[REMOVED]'),
  }

  def __init__(self, options, models):
    del models
    self._regexes = [
      LinearRegex(pattern, options['ignore_case'], f'patterns[{i}]')
      for i, pattern in enumerate(options['patterns'])
    ]
    self._longest, self._label = options['longest'], options['label']
    if not self._regexes:
      raise ConfigError('patterns: there are none; expected at least one.')

  def detectors(self, name, action):
    return [
      RegexDetector(regex, self._longest, name, action, self._label)
      for regex in self._regexes
    ]


class ClassifierRule:
  """A fine-tuned classifier over windows of the text."""

  fields = {
    'run': Field(text),
    'class': Field(text),
    'threshold': Field(share, default=0.5),
    'window': Field(natural, default=400),
    'label': Field(text, default='[REMOVED]'),
  }
  is_slow = True

  def __init__(self, options, models):
    if models.open_classifier is None:
      raise ConfigError(f'run={options["run"]!r}: no classifier can be opened here.')
    classify = models.open_classifier(options['run'], options['class'])
    self._make = functools.partial(
      ClassifierDetector, classify, options['threshold'], options['window']
    )
    self._label = options['label']

  def detectors(self, name, action):
    return [self._make(name, action, self._label)]


class ClassifierDetector:
  """A Detector of windows that a classifier gives at least `threshold`.

  `classify`: (list of texts) -> the probability of the class for each.
  """

  def __init__(self, classify, threshold, window, name, action, label):
    self._classify, self._threshold = classify, threshold
    self._what = name, action, label
    self._windows = Windows(window, least=max(1, window // 4))

  def feed(self, piece):
    spans = self._spans(self._windows.feed(piece))
    return spans, self._windows.start

  def finish(self):
    return self._spans(self._windows.finish())

  def _spans(self, windows):
    windows = [(start, text) for start, text in windows if text.strip()]
    if not windows:
      return []
    name, action, label = self._what
    found = self._classify([text for _, text in windows])
    return [
      Span(start, start + len(text), 0, name, action, label)
      for (start, text), probability in zip(windows, found, strict=True)
      if probability >= self._threshold
    ]


class PersonalDataRule:
  """The kinds of `redaction.Redactor`; names by a run that tags them."""

  fields = {
    'kinds': Field(texts, default=None),
    'names': Field(text, default=None),
    'name_tags': Field(texts, default=('PER', 'NAME')),
  }

  def __init__(self, options, models):
    find_names = None
    if options['names'] is not None:
      if models.open_names is None:
        raise ConfigError(f'names={options["names"]!r}: no tagger can be opened here.')
      find_names = models.open_names(options['names'], options['name_tags'])
    self._redactor = redaction.Redactor(options['kinds'], find_names)
    self.is_slow = find_names is not None

  def detectors(self, name, action):
    return self._redactor.detectors(f'{name}/', action)


RULES = {
  'words': WordsRule,
  'regex': RegexRule,
  'classifier': ClassifierRule,
  'personal_data': PersonalDataRule,
}
"""Type of a rule -> the class that reads its options."""
