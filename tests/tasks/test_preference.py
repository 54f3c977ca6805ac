"""Preferred answers: pairs in a row, accuracy, a training."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.objectives.reward import CHOSEN, REJECTED
from tests.tasks import small_tasks


def pair(asked='Hi', chosen='Hello!', rejected='No.'):
  return small_tasks.record(
    messages=[{'role': 'user', 'content': asked}],
    chosen={'role': 'assistant', 'content': chosen},
    rejected={'role': 'assistant', 'content': rejected},
  )


def made(**fields):
  named = {name.replace('__', '.'): value for name, value in fields.items()}
  return small_tasks.made('preference', 'reward', {'data.seq_len': 96} | named)


def texts_of(row):
  """Returns the texts of both sides; their last tokens are left out."""
  sides = row.fields['sides']
  return [
    bytes(row.tokens[sides == side][:-1].astype(np.uint8)).decode()
    for side in (CHOSEN, REJECTED)
  ]


def test_both_conversations_stand_in_one_row():
  task, encoder = made()
  (row,) = task.encode(pair(), encoder, True)
  chosen, rejected = texts_of(row)
  assert chosen == 'User: Hi\nAssistant: Hello!\n'
  assert rejected == 'User: Hi\nAssistant: No.\n'
  (ends,) = np.nonzero(row.fields['labels'] >= 0)
  assert row.fields['labels'][ends].tolist() == [1, 0]
  assert row.tokens[ends].tolist() == [256, 256]
  assert ends.tolist() == [len(chosen), len(row.tokens) - 1]


def test_a_format_of_chats_may_be_named():
  task, encoder = made(task__options__template='chatml')
  chosen, _ = texts_of(task.encode(pair(), encoder, True)[0])
  assert chosen.startswith('<|im_start|>user\nHi<|im_end|>')


def test_long_conversations_lose_their_beginning():
  task, encoder = made(data__seq_len=32, task__too_long='truncate_left')
  (row,) = task.encode(pair(), encoder, True)
  chosen, rejected = texts_of(row)
  assert len(row.tokens) == 32 and len(chosen) == len(rejected)
  assert chosen.endswith(' Hello!\n') and rejected.endswith('tant: No.\n')


def test_the_higher_reward_is_preferred():
  task, _ = made()
  records, found = [pair()] * 2, []
  for rewards in ([1.0, -0.5], [0.25, 0.75]):
    outputs = [{'rewards': np.array(rewards)}]
    found.append(task.decode(pair(), [None], outputs))
  assert [one['preferred'] for one in found] == ['chosen', 'rejected']
  assert task.score(records, found).metrics == dict(accuracy=0.5, margin=0.5)
  (longer,) = task.baselines([], [pair()])['longer answer']
  assert longer == dict(preferred='chosen', rewards=[6.0, 3.0])


def test_what_is_no_pair_is_refused():
  task, _ = made()
  with pytest.raises(DataError, match="line 1: has no 'chosen'.*sharegpt"):
    task.check(small_tasks.record(messages=[{'role': 'user', 'content': 'a'}]))
  with pytest.raises(DataError, match='line 1: turn 2'):
    task.check(pair(chosen=' '))
  with pytest.raises(ConfigError, match='a reward is that of a whole text'):
    made(task__too_long='window')


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_a_preferred_word_is_learned(attention, tmp_path):
  rng = np.random.default_rng(0)
  records = []
  for _ in range(32):
    words = rng.choice(['ab', 'cd', 'ef'], 2)
    records.append(pair(chosen=f'x {words[0]}', rejected=f'y {words[1]}').values)
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  options = {
    'train.steps': 50, 'objective.options.attention': attention, 'data.seq_len': 64,
    'objective.options.pooling': 'mean', 'task.reader': 'jsonl',
  }  # fmt: skip
  metrics, predictions = small_tasks.train(
    'preference', 'reward', path, tmp_path / 'run', options
  )
  assert metrics['accuracy'] == 1 and metrics['margin'] > 0
  assert predictions[0]['prediction']['preferred'] == 'chosen'
