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
from gpt_jax.examples.record import Record
from gpt_jax.tasks.classification import Classification
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.tasks.task import Row, advice
from gpt_jax.templates import prompts, shots, template

BATCH = 64
"""Examples that are scored at once, between two looks at the progress."""
TARGET = ' {label}'
NO_CONTENT = 'N/A'


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
  # Divide by what a prompt without content says of the labels (arXiv:2102.09690, 2).
  calibrate: bool = False


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

  @property
  def needs(self):
    return tuple(dict.fromkeys(template.names_in(self.template.text)))

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
        f' set task.options.verbalizers, as "1=good,0=bad".{advice(label)}'
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
    truncated = encoder.counts.truncated
    prompt = self._prompt(record, self._shots(record), encoder)
    if prompt is None:
      return []
    before, after = encode_pair(encoder.tokenizer, prompt, target)
    free = encoder.max_tokens - len(encoder.begin) - len(after)
    if free < 1:
      raise ConfigError(
        f'data.seq_len={encoder.max_tokens}: the words of a label ({target!r},'
        f' {len(after)} tokens) leave no token for a prompt; raise it.'
      )
    # The ids of the parts are not always those of the whole, for which space was made.
    if len(before) > free:
      if encoder.too_long == 'drop':
        encoder.counts.dropped += 1
        return []
      encoder.counts.truncated = truncated + 1
      before = before[-free:]
    tokens = np.array([*encoder.begin, *before, *after], np.int32)
    mask = np.zeros(len(tokens), np.int32)
    mask[len(tokens) - len(after) :] = 1
    return [Row(tokens, {'loss_mask': mask})]

  def answer(self, generator, records, progress=None, counts=None):
    encoder = Encoder(generator.tokenizer, self.config.data, self.cfg, counts)
    starts = range(0, len(records), BATCH)
    found: list[dict | None] = [None] * len(records)
    priors = {}
    for start in starts if progress is None else progress(starts, len(starts)):
      numbers, part, chosen, asked = [], [], [], []
      for i, record in enumerate(records[start : start + BATCH], start):
        encoder.counts.examples += 1
        prompt = self._prompt(record, solved := self._shots(record), encoder)
        if prompt is not None:
          numbers.append(i)
          part.append(record)
          chosen.append(solved)
          asked.append(prompt)
      log_probs_NC = self._scored(generator, part, asked)
      if self.cfg.options.calibrate and part:
        self._add_priors(priors, generator, part, chosen)
        log_probs_NC -= np.stack([priors[_key(each)] for each in chosen])
      log_probs_NC -= np.logaddexp.reduce(log_probs_NC, axis=-1, keepdims=True)
      for i, log_probs_C in zip(numbers, log_probs_NC, strict=True):
        found[i] = self._prediction(np.exp(log_probs_C))
    return found

  def unanswered(self, record):
    gold = self.gold(record)
    wrong = next((name for name in self.label_names if name != gold), gold)
    C = len(self.label_names)
    return dict(label=wrong, probabilities=dict.fromkeys(self.label_names, 1 / C))

  def _scored(self, generator, records, asked):
    """Returns float64 [N, C]: how likely each label's words are, together, in nats."""
    targets = [self._targets(record) for record in records]
    items = [
      (prompt or self.describe(record), sum(words.values(), []))
      for record, prompt, words in zip(records, asked, targets, strict=True)
    ]
    log_probs_NC = np.full((len(records), len(self.label_names)), -np.inf)
    scores = generator.score_many(items, truncate=True)
    for row_C, words, each in zip(log_probs_NC, targets, scores, strict=True):
      labels = [i for i, texts in enumerate(words.values()) for _ in texts]
      for i, score in zip(labels, each, strict=True):
        row_C[i] = np.logaddexp(row_C[i], score.log_prob)
    return log_probs_NC

  def _add_priors(self, priors, generator, records, chosen):
    """Adds to {shots: float64 [C]} what prompts without content say of the labels."""
    new = {
      _key(each): (record, each)
      for record, each in zip(records, chosen, strict=True)
      if _key(each) not in priors
    }
    empty = dict.fromkeys(self.inputs, NO_CONTENT)
    encoder = Encoder(generator.tokenizer, self.config.data, self.cfg)
    blank = [Record(record.values | empty, record.place) for record, _ in new.values()]
    asked = [
      self._prompt(record, each, encoder)
      for record, (_, each) in zip(blank, new.values(), strict=True)
    ]
    if new:
      priors.update(zip(new, self._scored(generator, blank, asked), strict=True))

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

  def _prompt(self, record, chosen, encoder):
    """Returns the prompt after the `chosen` shots, what fits of it; None: dropped.

    What is too long loses shots, then the ends, or beginnings, of its texts.
    """
    tokenizer, values = encoder.tokenizer, record.values
    longest = max(
      len(tokenizer.encode(text))
      for texts in self._targets(record).values()
      for text in texts
    )
    most = encoder.max_tokens - len(encoder.begin) - longest

    def length(prompt):
      return len(tokenizer.encode(prompt))

    chosen = shots.fitting(self.template, chosen, values, most, length)
    label = values.get(self.target, self.label_names[0])  # of a target not looked at
    made, _ = shots.with_shots(self.template, chosen, values | {self.target: label})
    if length(made) <= most:
      return made
    if encoder.too_long == 'drop':
      encoder.counts.dropped += 1
      return None
    encoder.counts.truncated += 1
    is_left = encoder.too_long == 'truncate_left'
    return self._cut(record, lambda prompt: length(prompt) <= most, is_left)

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
    for record in records:
      self.check(record)
      self.require_answer(record, is_training=True)
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
  return template.require_unanswered(found, PromptClassification.target)


def _key(chosen):
  """Returns shots as the key of a dict."""
  return repr(chosen)


def _with_word(found, label, word):
  return dataclasses.replace(found, verbalizers={label: (word,)})
