"""Classes of texts by a language model: a prompt, and how likely each label's word is.

With task.options.shots=0 and no training it is zero-shot classification, with shots
few-shot (arXiv:2005.14165, section 2); trained, the form of PET (arXiv:2001.07676).
"""

import dataclasses
import functools

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, DataError, Problem
from gpt_jax.core.sections import a_seed, between, comma_separated, one_of, section
from gpt_jax.data.continuation import encode_pair
from gpt_jax.examples import splits
from gpt_jax.examples.fields import TEXTS
from gpt_jax.tasks.classification import Classification
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.tasks.task import Row
from gpt_jax.templates import prompts, shots, template

BATCH = 64
"""Examples that are scored at once, between two looks at the progress."""
TARGET = ' {label}'


@section
class PromptOptions:
  """`task.options` of prompt_classification."""

  # A name of `gpt-jax templates`, or a text with {fields}.
  template: str = '{text}\nLabel:'
  target: str = ''  # what follows; '': that of the name, or ' {label}'
  # Words of labels, as `1=good,1=fine,0=bad`; (): those of the name, or the labels.
  verbalizers: tuple[str, ...] = comma_separated(default=())
  shots: int = between(0, 256, default=0)  # solved examples of the training split
  shots_how: str = one_of('random', 'balanced', 'nearest', default='balanced')
  shots_seed: int = a_seed(default=0)


class PromptClassification(Classification):
  """A language model that scores words for labels; objective causal_lm."""

  name = 'prompt_classification'
  objectives = ('causal_lm',)
  fields = ('loss_mask',)
  answers = 'scoring'

  def __init__(self, config):
    super().__init__(config)
    self.template = _template(self.cfg.options, self.label_names)
    self.label_names = tuple(self.template.verbalizers)
    names = template.names_in(self.template.text)
    self.inputs = tuple(dict.fromkeys(name for name in names if name in TEXTS))

  @property
  def num_outputs(self):
    return None  # it has the language model's head

  def labels_of(self, records):
    return self.label_names or super().labels_of(records)

  def check(self, record):
    super().check(record)
    if self.label_names:
      self.gold(record)
    template.prompt_of(self.template, record.values, record.place)

  def gold(self, record):
    """Returns the label of the verbalizers that a record's label means, or None."""
    label = record.values.get(self.target)
    if label is None or not self.label_names:
      return label
    found = template.canonical_label(self.template, label)
    if found is None:
      known = ', '.join([*self.template.verbalizers, *self.template.aliases])
      raise DataError(
        f'{record.place}: label={label!r}: expected one of {known}, which have words;'
        ' set task.options.verbalizers, as "1=good,0=bad".'
      )
    return found

  def describe(self, record):
    return template.prompt_of(self.template, record.values, record.place)

  def parts(self, record):
    """Returns the texts that the prompt reads, for methods that read plain text."""
    return [self.text_of(record, field) for field in self.inputs]

  def encode(self, record, encoder, is_training):
    del is_training
    words = self._targets(record)
    label = self.gold(record)
    # Of new records the loss is not reported: any label will do.
    target = words[self.label_names[0] if label is None else label][0]
    encoder.counts.examples += 1
    prompt = self._prompt(record, encoder)
    if prompt is None:
      return []
    before, after = encode_pair(encoder.tokenizer, prompt, target)
    tokens = np.array([*encoder.begin, *before, *after], np.int32)
    mask = np.zeros(len(tokens), np.int32)
    mask[len(tokens) - len(after) :] = 1
    return [Row(tokens, {'loss_mask': mask})]

  def answer(self, generator, records, progress=None):
    encoder = Encoder(generator.tokenizer, self.config.data, self.cfg)
    parts = [records[i : i + BATCH] for i in range(0, len(records), BATCH)]
    found = []
    for part in parts if progress is None else progress(parts, len(parts)):
      targets = [self._targets(record) for record in part]
      items = [
        (
          self._prompt(record, encoder) or self.describe(record),
          [text for texts in words.values() for text in texts],
        )
        for record, words in zip(part, targets, strict=True)
      ]
      scores = generator.score_many(items, truncate=True)
      found += [
        self._answered(words, [one.log_prob for one in each])
        for words, each in zip(targets, scores, strict=True)
      ]
    return found

  def _answered(self, words, log_probs):
    """Returns the prediction: a label is as likely as its words together."""
    label_of = [label for label, texts in words.items() for _ in texts]
    sums_C = np.full(len(self.label_names), -np.inf)
    for label, log_prob in zip(label_of, log_probs, strict=True):
      i = self.label_names.index(label)
      sums_C[i] = np.logaddexp(sums_C[i], log_prob)
    return self._prediction(np.exp(sums_C - np.logaddexp.reduce(sums_C)))

  def _targets(self, record):
    """Returns {label: what may follow the prompt, one text for each of its words}."""
    return {
      label: [
        template.continuations(_with_word(self.template, label, word), record.values)[
          label
        ]
        for word in words
      ]
      for label, words in self.template.verbalizers.items()
    }

  def _prompt(self, record, encoder):
    """Returns the prompt with its shots, as much of it as fits; None: it is dropped.

    What is too long loses shots, then the ends, or beginnings, of its texts.
    """
    tokenizer, values = encoder.tokenizer, record.values
    longest = max(
      len(tokenizer.encode(text))
      for texts in self._targets(record).values()
      for text in texts
    )
    room = encoder.max_tokens - len(encoder.begin) - longest

    def length(prompt):
      return len(tokenizer.encode(prompt))

    chosen = self._shots(record)
    chosen = shots.fitting(self.template, chosen, values, room, length)
    if chosen or length(self.describe(record)) <= room:
      made, _ = shots.with_shots(self.template, chosen, self._solved(values))
      return made
    if encoder.too_long == 'drop':
      encoder.counts.dropped += 1
      return None
    encoder.counts.truncated += 1
    is_left = encoder.too_long == 'truncate_left'
    return self._cut(record, lambda prompt: length(prompt) <= room, is_left)

  def _cut(self, record, fits, is_left):
    """Returns the prompt with as many characters of each text as fit."""
    low, high = 0, max(len(record.values[field]) for field in self.inputs)

    def prompt(count):
      cut = {
        field: text[max(len(text) - count, 0) :] if is_left else text[:count]
        for field in self.inputs
        for text in [record.values[field]]
      }
      return template.prompt_of(self.template, record.values | cut, record.place)

    if not fits(prompt(0)):
      raise ConfigError(
        f'data.seq_len={self.config.data.seq_len}: the prompt of task.options.template'
        ' leaves no token for a text; raise it.'
      )
    while high - low > 1:
      middle = (low + high) // 2
      low, high = (middle, high) if fits(prompt(middle)) else (low, middle)
    return prompt(low)

  def _solved(self, values):
    # The target is not looked at, but a template may ask for the label.
    return values | {self.target: values.get(self.target, self.label_names[0])}

  def _shots(self, record):
    options = self.cfg.options
    if not options.shots:
      return []
    return shots.shots_for(
      self._pool, record.values, options.shots, options.shots_seed, options.shots_how
    )

  @functools.cached_property
  def _pool(self):
    config, cfg = self.config, self.cfg
    records = splits.load(
      cfg.files, cfg.reader, cfg.columns, 'train', data_dir=config.data.data_dir,
      encoding=config.data.encoding, limit=cfg.max_examples,
    )  # fmt: skip
    return shots.Pool([record.values for record in records])


def problems(config):
  """Returns the Problems of a Config whose prompts cannot be read in windows."""
  if config.task.too_long != 'window':
    return []
  text = "='window': a prompt is read as one; expected truncate, truncate_left or drop"
  return [Problem('task.too_long', text)]


@registry.entry(options=PromptOptions, problems=problems)
def make(config):
  """Returns the task of a Config: a prompt whose continuations are scored."""
  return PromptClassification(config)


def _template(options, label_names):
  """Returns the PromptTemplate of options, with words for the labels known so far."""
  words = {}
  for one in options.verbalizers:
    label, equals, word = one.partition('=')
    if not equals or not label or not word:
      raise ConfigError(
        f'task.options.verbalizers: {one!r}: expected LABEL=WORD, as in "1=good,0=bad".'
      )
    words.setdefault(label, []).append(word)
  found = prompts.get(
    options.template, target=options.target, verbalizers=words or None
  )
  if not found.target:
    found = dataclasses.replace(found, target=TARGET)
  if not found.verbalizers:
    by_name = {name: (name,) for name in label_names}
    found = dataclasses.replace(found, verbalizers=by_name)
  return found


def _with_word(found, label, word):
  return dataclasses.replace(found, verbalizers={label: (word,)})
