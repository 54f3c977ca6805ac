"""Multiple choice by likelihood: which of some texts is likeliest after a prompt.

GPT-3, arXiv:2005.14165, section 2.4: log-likelihoods, as they are and by length.
PIQA reads a goal and two ways to it; BLiMP has no prompt, and of two sentences the
first is the acceptable one:

  task.name='choice' task.reader='blimp' task.files={'all': 'blimp/*.jsonl'}
"""

from typing import Any

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import DataError
from gpt_jax.core.sections import one_of, section
from gpt_jax.data.continuation import encode_pair
from gpt_jax.evaluation.scores import Scores
from gpt_jax.tasks import continuations
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.tasks.task import Task, advice
from gpt_jax.templates import template

BATCH = 64  # questions that are scored between two looks at the progress


@section
class ChoiceOptions:
  """`task.options` of choice.

  template: a name of `gpt-jax templates`, or a text with {prompt}, which each choice
  follows after a space. length: by what a log-likelihood is divided for the answer and
  accuracy_norm. lm-eval's acc_norm divides by characters, which are bytes in English.
  """

  template: str = '{prompt}'
  length: str = one_of('byte', 'token', 'none', default='byte')


class Choice(Task):
  """A language model that scores each choice; trained on the right ones by causal_lm.

  A prediction has the number of the choice that is likeliest for its length (`label`),
  that of the likeliest one (`likeliest`), log-likelihoods in nats and lengths. All
  choices follow the same part of a prompt that is too long. Where one of them leaves it
  no token, the example is dropped, whatever task.too_long says.
  """

  name = 'choice'
  inputs = ('prompt', 'choices')
  objectives = ('causal_lm',)
  fields = ('loss_mask',)
  metrics = ('accuracy_norm', 'accuracy')
  answers = 'scoring'

  def __init__(self, config):
    super().__init__(config)
    self.template = continuations.template_of(
      config.task.options.template,
      ' {choice}',
      ('prompt', 'choices', 'label'),
      self.target,
    )

  def check(self, record):
    values, place = record.values, record.place
    prompt, choices = values.get('prompt'), values.get('choices')
    if not isinstance(prompt, str):
      raise DataError(
        f'{place}: prompt is {prompt!r}; expected text, "" for none (task.columns).'
      )
    if not isinstance(choices, list) or len(choices) < 2:
      raise DataError(
        f'{place}: choices are {str(choices)[:80]}; expected a list of two texts or'
        ' more (task.columns).'
      )
    for text in choices:
      if not isinstance(text, str) or not text.strip():
        raise DataError(f'{place}: a choice is {text!r}; expected text.')
    self.gold(record)

  def encode(self, record, encoder, is_training):
    del is_training
    label = self.gold(record) or 0  # of new records any: their loss is not reported
    prompt, texts = self.texts_of(record)
    encoder.counts.examples += 1
    row = continuations.continuation_row(encoder, prompt, texts[label])
    return [row] if row else []

  def texts_of(self, record):
    """Returns (prompt, what may follow it) of a record, as the model reads them."""
    values, place = record.values, record.place
    prompt = template.prompt_of(self.template, values, place)
    texts = [
      template.render(self.template, values | {'label': number}, place)[1]
      for number in range(len(values['choices']))
    ]
    return prompt, texts if prompt else [text.lstrip() for text in texts]

  def answer(self, generator, records, progress=None, counts=None):
    encoder = Encoder(generator.tokenizer, self.config.data, self.cfg, counts)
    asked = [self.texts_of(record) for record in records]
    is_read = [encoder.admits(*_fit(encoder, *item)) for item in asked]
    items = [item for item, reads in zip(asked, is_read, strict=True) if reads]
    parts = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    found = []
    for part in parts if progress is None else progress(parts, len(parts)):
      scores = generator.score_many(
        part, truncate=True, max_tokens=self.config.data.seq_len
      )
      found += [
        self._prediction(texts, each)
        for (_, texts), each in zip(part, scores, strict=True)
      ]
    predictions = iter(found)
    return [next(predictions) if reads else None for reads in is_read]

  def unanswered(self, record):
    del record
    return dict(label=-1, likeliest=-1, log_probs=[], lengths=[])

  def _prediction(self, texts, scores):
    log_probs = np.array([score.log_prob for score in scores])
    lengths = {
      'byte': [len(text.strip().encode()) for text in texts],
      'token': [max(score.num_tokens, 1) for score in scores],
      'none': [1] * len(scores),
    }[self.cfg.options.length]
    return dict(
      label=int(np.argmax(log_probs / np.array(lengths))),
      likeliest=int(np.argmax(log_probs)),
      log_probs=log_probs.tolist(),
      lengths=lengths,
    )

  def gold(self, record) -> Any:
    value = record.values.get('label')
    if value is None:
      return None
    count = len(record.values['choices'])
    number = int(value) if str(value).isdecimal() else -1
    if not 0 <= number < count:
      raise DataError(
        f'{record.place}: label={value!r}: expected the number of the right choice, 0'
        f' to {count - 1}.{advice(value)}'
      )
    return number

  def score(self, records, predictions):
    gold: Any = [self.gold(record) for record in records]

    def accuracy(field):
      found = [one[field] for one in predictions]
      return float(np.mean(np.equal(found, gold)))

    metrics = dict(accuracy_norm=accuracy('label'), accuracy=accuracy('likeliest'))
    return Scores(metrics, dict(length=self.cfg.options.length))

  def baselines(self, train, records):
    from gpt_jax.baselines import choice_rules

    del train
    choices_of = [record.values['choices'] for record in records]
    rules = {
      'first choice': choice_rules.first_choice,
      'longest choice': choice_rules.longest_choice,
    }
    return {
      name: [dict(label=one, likeliest=one) for one in rule(choices_of)]
      for name, rule in rules.items()
    }

  def describe(self, record):
    return '\n'.join([record.values['prompt'], *record.values['choices']])


def _fit(encoder, prompt, texts):
  """Returns (is a prompt cut before a text, is some of it read before each)."""
  pairs = [encode_pair(encoder.tokenizer, prompt, text) for text in texts]
  frame, most = len(encoder.begin), encoder.max_tokens
  is_cut = any(
    len(before) and frame + len(before) + len(ids) > most for before, ids in pairs
  )
  # Without a prompt, and without a begin token, one stands in its place.
  return is_cut, all(
    max(1, frame + bool(len(before))) + len(ids) <= most for before, ids in pairs
  )


@registry.entry(options=ChoiceOptions)
def make(config):
  """Returns the task of a Config: a prompt, choices, the number of the right one."""
  return Choice(config)
