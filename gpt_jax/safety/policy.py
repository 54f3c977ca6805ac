"""A policy at work: prompts are refused, redacted or let through, answers filtered.

policy = load('policy.json')
answers = policy.output_filter()
shown = ''.join(answers.feed(piece) for piece in pieces) + answers.finish()
"""

import collections
import re
from typing import NamedTuple

from gpt_jax.safety import policy_file
from gpt_jax.safety.policy_file import Models
from gpt_jax.safety.span_filter import SpanFilter


class Refusal(NamedTuple):
  """Why a text is not let through, and what is said instead."""

  rule: str
  text: str


class Checked(NamedTuple):
  """A prompt after all rules."""

  text: str
  """With what is redacted replaced; '' where it is refused."""
  refusal: Refusal | None
  redactions: collections.Counter
  """Kinds of personal data that were replaced."""
  hits: collections.Counter
  """How often each rule held, whatever its action."""


def load(path, models=None):
  """Returns the Policy of a file. Raises ConfigError with all that is wrong.

  `models`: a `policy_file.Models`, for rules that have one.
  """
  rules, digest = policy_file.read(path, models or Models())
  return Policy(rules, digest)


class Policy:
  """Rules for prompts and answers; any number of threads may use it."""

  def __init__(self, rules, digest=''):
    self.rules, self.digest = list(rules), digest
    self.is_slow = any(getattr(rule.make, 'is_slow', False) for rule in self.rules)
    """Whether a model is asked, so that a text takes more than some microseconds."""

  def read_prompt(self, text):
    """Returns a prompt as Checked by all rules for prompts."""
    checked = OutputFilter(self.rules, 'prompt')
    shown = checked.feed(text) + checked.finish()
    refusal = checked.refusal
    shown = '' if refusal else shown
    return Checked(shown, refusal, checked.redactions, checked.hits)

  def check_prompt(self, text):
    """Returns the Refusal of a prompt, or None."""
    rules = [rule for rule in self.rules if rule.action == 'refuse']
    checked = OutputFilter(rules, 'prompt')
    checked.feed(text)
    checked.finish()
    return checked.refusal

  def redact_prompt(self, text):
    """Returns (a prompt with what is redacted replaced, Counter of the kinds)."""
    rules = [rule for rule in self.rules if rule.action == 'redact']
    checked = OutputFilter(rules, 'prompt')
    return checked.feed(text) + checked.finish(), checked.redactions

  def output_filter(self):
    """Returns an OutputFilter for one answer."""
    return OutputFilter(self.rules, 'answer')


class OutputFilter:
  """Shows of a text what the rules let through, as soon as they do.

  The pieces that are shown add up to the same text wherever it was cut.
  """

  def __init__(self, rules, side):
    self._rules = {rule.name: rule for rule in rules if rule.reads(side)}
    self._filter = SpanFilter(
      detector
      for rule in self._rules.values()
      for detector in rule.make.detectors(rule.name, rule.action)
    )
    self._sample, self._is_whole = '', side == 'prompt'
    self.refusal: Refusal | None = None
    """Set once the text is refused: nothing more of it is shown."""

  def feed(self, piece):
    """Returns what can be shown now."""
    if len(self._sample) < _SAMPLE_CHARS:
      self._sample = (self._sample + piece)[:_SAMPLE_CHARS]
    return self._shown(self._filter.feed(piece))

  def finish(self):
    """Returns the rest."""
    return self._shown(self._filter.finish())

  def _shown(self, text):
    if self._filter.refused and self.refusal is None:
      rule = self._rules[self._filter.refused.name.partition('/')[0]]
      # Of an answer, what a client cannot see yet must not matter.
      seen = (
        self._sample if self._is_whole else self._sample[: self._filter.refused.end]
      )
      self.refusal = Refusal(rule.name, in_language(rule.refusal, seen))
    return text

  @property
  def hits(self):
    """Counter of how often each rule held."""
    found = collections.Counter()
    for (name, _), count in self._filter.counts.items():
      found[name.partition('/')[0]] += count
    return found

  @property
  def redactions(self):
    """Counter of what was replaced: kinds of personal data, else names of rules."""
    found = collections.Counter()
    for (name, action), count in self._filter.counts.items():
      if action == 'redact':
        found[name.rpartition('/')[2]] += count
    return found


_SAMPLE_CHARS = 200
_SCRIPTS = {
  'ja': re.compile('[\u3040-\u30ff]'),
  'ko': re.compile('[\uac00-\ud7af]'),
  'zh': re.compile('[\u4e00-\u9fff]'),
  'ru': re.compile('[\u0400-\u04ff]'),
  'ar': re.compile('[\u0600-\u06ff]'),
}


def in_language(texts, sample):
  """Returns the one of `{language: text}` that fits the script of a sample.

  Else the one without a language, the English one, or the first.
  """
  letters = max(1, sum(char.isalpha() for char in sample))
  for language, script in _SCRIPTS.items():
    if language in texts and len(script.findall(sample)) > letters / 5:
      return texts[language]
  return texts.get('', texts.get('en', next(iter(texts.values()))))
