"""Which of two answers to a conversation is better: the model gives each a reward.

InstructGPT, arXiv:2203.02155, section 3.5.
"""

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.evaluation.scores import Scores
from gpt_jax.objectives.class_labels import NO_LABEL
from gpt_jax.objectives.reward import CHOSEN, REJECTED
from gpt_jax.tasks.task import Row, Task

SPEAKERS = {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}
SIDES = ('chosen', 'rejected')


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
    messages = record.values.get('messages')
    if not isinstance(messages, list) or not messages:
      raise DataError(
        f'{record.place}: messages are {str(messages)[:80]}; expected a conversation'
        ' (task.reader=sharegpt).'
      )
    for message in (*messages, *(record.values.get(side) for side in SIDES)):
      if not isinstance(message, dict) or message.get('role') not in SPEAKERS:
        raise DataError(
          f'{record.place}: {str(message)[:80]}: expected a message with role and'
          ' content; a record of task.name="preference" has messages, chosen and'
          ' rejected (task.reader=sharegpt).'
        )

  def encode(self, record, encoder, is_training):
    del is_training
    frame = len(encoder.begin) + len(encoder.end)
    room = encoder.max_tokens - 2 * frame
    if room < 2:
      raise ConfigError(
        f'data.seq_len={encoder.max_tokens}: leaves no token for two texts; raise it.'
      )
    texts = [encoder.ids(conversation(record, side)) for side in SIDES]
    return [_row(encoder, *pair) for pair in encoder.fit(texts, room=room)]

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
    answers = (record.values[side]['content'] for side in SIDES)
    return '\n\n'.join([conversation(record), *answers])


def make(config):
  """Returns the task of a Config: conversations with a chosen and a rejected answer."""
  if config.task.too_long == 'window':
    raise ConfigError(
      "task.too_long='window': a reward is that of a whole text; set truncate,"
      ' truncate_left or drop.'
    )
  return Preference(config)


def conversation(record, side=None):
  """Returns the messages of a record as a text, with the answer `side` at its end."""
  values = record.values
  messages = [*values['messages'], *([values[side]] if side else [])]
  return '\n'.join(f'{SPEAKERS[one["role"]]}: {one["content"]}' for one in messages)


def _row(encoder, chosen, rejected):
  tokens, sides, labels = [], [], []
  for ids, side, label in ((chosen, CHOSEN, 1), (rejected, REJECTED, 0)):
    text = [*encoder.begin, *ids, *encoder.end]
    tokens += text
    sides += [side] * len(text)
    labels += [NO_LABEL] * (len(text) - 1) + [label]
  fields = dict(labels=np.array(labels, np.int32), sides=np.array(sides, np.int32))
  return Row(np.array(tokens, np.int32), fields)
