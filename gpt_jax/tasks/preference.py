"""Which of two answers to a conversation is better: the model gives each a reward.

InstructGPT, arXiv:2203.02155, section 3.5.
"""

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.sections import section
from gpt_jax.data.documents import Special
from gpt_jax.evaluation.scores import Scores
from gpt_jax.objectives.class_labels import NO_LABEL
from gpt_jax.objectives.reward import CHOSEN, REJECTED
from gpt_jax.tasks.task import Row, Task
from gpt_jax.templates import chat, jinja_chat

SIDES = ('chosen', 'rejected')


@section
class PreferenceOptions:
  """`task.options` of preference.

  template: of conversations; 'plain', 'chatml' and others of `gpt-jax templates`, or
  'tokenizer', the one that came with it.
  """

  template: str = 'plain'


class Preference(Task):
  """A task head with one output; objective reward.

  Records have messages, chosen and rejected, as reader sharegpt gives them. Both whole
  conversations stand in one row: data.seq_len holds two. A prediction has the `rewards`
  of both and which of them is `preferred`.
  """

  name = 'preference'
  inputs = ('messages', *SIDES)
  target = 'chosen'
  objectives = ('reward',)
  fields = ('labels', 'sides')
  metrics = ('accuracy', 'margin')

  def check(self, record):
    values = record.values
    if missing := [name for name in self.inputs if name not in values]:
      raise DataError(
        f'{record.place}: has no {missing[0]!r}; a record of task.name="preference" has'
        ' messages, chosen and rejected (task.reader=sharegpt).'
      )
    for side in SIDES:
      chat.check_messages([*values['messages'], values[side]], record.place)

  def encode(self, record, encoder, is_training):
    del is_training
    frame = len(encoder.begin) + len(encoder.end)
    free = encoder.max_tokens - 2 * frame
    if free < 2:
      raise ConfigError(
        f'data.seq_len={encoder.max_tokens}: leaves no token for two texts; raise it.'
      )
    format_ = jinja_chat.get(self.cfg.options.template, encoder.tokenizer)
    texts = [self._ids(encoder, format_, record, side) for side in SIDES]
    return [_row(encoder, *pair) for pair in encoder.fit(texts, limit=free)]

  def _ids(self, encoder, format_, record, side):
    values = record.values
    messages = [*values['messages'], values[side]]
    parts = chat.render_parts(messages, format_, place=record.place)
    found = []
    for part, _ in chat.without_begin(parts, self.config.data.begin_token):
      if isinstance(part, Special):
        found.append(encoder.tokenizer.special_id(part.name))
      else:
        found += list(encoder.ids(part))
    return found

  def decode(self, record, rows, outputs):
    del record, rows
    (found,) = outputs
    chosen, rejected = (float(value) for value in found['rewards'])
    preferred = SIDES[0] if chosen > rejected else SIDES[1]
    return dict(preferred=preferred, rewards=[chosen, rejected])

  def gold(self, record):
    return SIDES[0]

  def score(self, records, predictions):
    is_right = [one['preferred'] == SIDES[0] for one in predictions]
    margins = [-np.diff(one['rewards'])[0] for one in predictions]
    metrics = dict(accuracy=float(np.mean(is_right)), margin=float(np.mean(margins)))
    return Scores(metrics, dict(num_pairs=len(records)))

  def baselines(self, train, records):
    del train

    def lengths(record):
      return [float(len(record.values[side]['content'])) for side in SIDES]

    return {
      'longer answer': [
        dict(preferred=SIDES[int(pair[0] <= pair[1])], rewards=pair)
        for pair in map(lengths, records)
      ]
    }

  def describe(self, record):
    values = record.values
    messages = [*values['messages'], *(values[side] for side in SIDES)]
    return '\n\n'.join(f'{one["role"]}: {one["content"]}' for one in messages)


@registry.entry(options=PreferenceOptions)
def make(config):
  """Returns the task of a Config: conversations with a chosen and a rejected answer."""
  if config.task.too_long == 'window':
    raise ConfigError(
      "task.too_long='window': a reward is that of a whole text; set truncate,"
      ' truncate_left or drop.'
    )
  return Preference(config)


def _row(encoder, chosen, rejected):
  tokens, sides, labels = [], [], []
  for ids, side, label in ((chosen, CHOSEN, 1), (rejected, REJECTED, 0)):
    text = [*encoder.begin, *ids, *encoder.end]
    tokens += text
    sides += [side] * len(text)
    labels += [NO_LABEL] * (len(text) - 1) + [label]
  fields = dict(labels=np.array(labels, np.int32), sides=np.array(sides, np.int32))
  return Row(np.array(tokens, np.int32), fields)
