"""Solved examples before a prompt."""

import subprocess
import sys

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.templates import prompts, shots
from gpt_jax.templates.template import render

TEMPLATE = prompts.get(
  '{text} ->', target=' {label}', verbalizers={'0': 'no', '1': 'yes'}
)
POOL = [{'text': f'word{i} of {i % 4}', 'label': str(i % 3 % 2)} for i in range(40)]


@pytest.mark.parametrize('how', shots.ORDERS)
def test_no_shot_is_the_example_itself(how):
  pool = shots.Pool(POOL)
  for example in POOL:
    for seed in range(3):
      found = shots.shots_for(pool, example, 5, seed, how)
      assert len(found) == 5 and example not in found
      assert all(found.count(each) == 1 for each in found)
  everything = shots.shots_for(POOL, POOL[0], 39, 0, how)
  assert sorted(map(str, everything)) == sorted(map(str, POOL[1:]))
  copy = POOL[0] | {'id': 'other'}
  assert POOL[0] not in shots.shots_for(POOL, copy, 39, 0, how)


@pytest.mark.parametrize('how', shots.ORDERS)
def test_a_seed_decides_the_shots(how):
  example = {'text': 'quite another thing', 'label': '1'}
  drawn = [str(shots.shots_for(POOL, example, 4, seed, how)) for seed in range(6)]
  again = [str(shots.shots_for(POOL, example, 4, seed, how)) for seed in range(6)]
  assert drawn == again and len(set(drawn)) > 3


@pytest.mark.slow  # a process of its own: its hashes of texts are other ones
def test_shots_are_the_same_in_another_process():
  program = (
    'from tests.templates.test_shots import POOL; from gpt_jax.templates import shots;'
    ' print([shots.shots_for(POOL, POOL[3], 6, 1, how) for how in shots.ORDERS])'
  )
  done = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  here = [shots.shots_for(POOL, POOL[3], 6, 1, how) for how in shots.ORDERS]
  assert done.stdout.strip() == str(here)


def test_balanced_shots_have_each_label_as_often():
  labels = [s['label'] for s in shots.shots_for(POOL, {}, 10, 0, 'balanced')]
  assert labels.count('0') == labels.count('1') == 5
  assert all(labels[i] != labels[i + 1] for i in range(9))
  with pytest.raises(ConfigError, match='examples have no label'):
    shots.shots_for([{'text': 'a'}], {}, 1, 0, 'balanced')


def test_the_nearest_share_most_words_and_come_last():
  pool = [{'text': text} for text in ('the red fox', 'a red fox ran', 'blue', 'fox')]
  found = shots.shots_for(pool, {'text': 'A red fox ran.'}, 3, 0, 'nearest')
  assert [shot['text'] for shot in found] == ['fox', 'the red fox', 'a red fox ran']


def test_overlap_is_that_of_sets():
  example = {'text': 'word3 of 3 word7'}
  found = shots.shots_for(POOL, example, len(POOL), 0, 'nearest')[::-1]
  want = shots.tokens_of(example)

  def overlap(shot):
    have = shots.tokens_of(shot)
    return len(want & have) / len(want | have)

  overlaps = [overlap(shot) for shot in found]
  assert overlaps == sorted(overlaps, reverse=True)


def test_tokens_are_words_and_chinese_characters_of_the_input():
  example = {'text': '我爱 JAX_2', 'label': 'x', 'history': ['A b'], 'answers': ['no']}
  assert shots.tokens_of(example) == {'我', '爱', 'jax', '2', 'a', 'b'}


def test_shots_stand_solved_before_the_prompt():
  first, second, asked = POOL[:3]
  prompt, target = shots.with_shots(TEMPLATE, [first, second], asked, ' | ')
  assert prompt == 'word0 of 0 -> no | word1 of 1 -> yes | word2 of 2 ->'
  assert target == ' no'
  assert shots.with_shots(TEMPLATE, [], asked) == render(TEMPLATE, asked)


@pytest.mark.parametrize('limit, kept', [(100, 3), (60, 2), (40, 1), (20, 0), (1, 0)])
def test_the_first_shots_go_when_there_are_too_many(limit, kept):
  chosen, asked = POOL[:3], POOL[4]
  found = shots.fitting(TEMPLATE, chosen, asked, limit, len)
  assert found == chosen[3 - kept :]
  prompt, _ = shots.with_shots(TEMPLATE, found, asked)
  assert len(prompt) <= limit or not found
  if kept < 3:
    more, _ = shots.with_shots(TEMPLATE, chosen[2 - kept :], asked)
    assert len(more) > limit


@pytest.mark.parametrize(
  'count, how, message',
  [
    (41, 'random', 'shots=41: the pool has 40'),
    (-1, 'random', 'shots=-1: expected 0'),
    (1, 'nearst', "did you mean 'nearest'"),
  ],
)
def test_impossible_shots_are_refused(count, how, message):
  with pytest.raises(ConfigError, match=message):
    shots.shots_for(POOL, {'text': 'x'}, count, 0, how)
