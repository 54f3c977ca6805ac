"""A policy refuses, redacts and logs, the same for any pieces of an answer."""

import json
import random
import re

import pytest

from gpt_jax.safety import policy
from gpt_jax.safety.policy_file import Models

RULES = [
  {
    'name': 'weapons', 'type': 'words', 'action': 'refuse',
    'words': ['pipe bomb', '制造炸弹'], 'refusal': {'en': 'No.', 'zh': '不行。'},
  },
  {
    'name': 'secrets', 'type': 'regex', 'on': 'answer', 'action': 'redact',
    'patterns': ['sk-[a-z0-9]{4,}'], 'label': '[SECRET]',
  },
  {
    'name': 'personal', 'type': 'personal_data', 'action': 'redact',
    'names': 'runs/ner',
  },
  {'name': 'rivals', 'type': 'words', 'action': 'log', 'words': ['acme']},
  {
    'name': 'hostile', 'type': 'classifier', 'action': 'redact', 'run': 'runs/hostile',
    'class': 'bad', 'threshold': 0.8, 'window': 40, 'label': '[HOSTILE]',
  },
]  # fmt: skip


def open_classifier(run, label):
  assert (run, label) == ('runs/hostile', 'bad')
  return lambda texts: [0.9 if 'hate' in text else 0.7 for text in texts]


def open_names(run, tags):
  assert (run, tags) == ('runs/ner', ('PER', 'NAME'))
  pattern = re.compile('Anna|李雷')
  return lambda texts: [[one.span() for one in pattern.finditer(t)] for t in texts]


MODELS = Models(open_classifier, open_names)


@pytest.fixture
def load(tmp_path):
  def load_rules(rules=RULES, **others):
    path = tmp_path / 'policy.json'
    path.write_text(json.dumps({'rules': rules} | others, ensure_ascii=False))
    return policy.load(path, MODELS)

  return load_rules


@pytest.fixture
def loaded(load):
  return load()


def answered(loaded, pieces):
  screen = loaded.output_filter()
  return ''.join(map(screen.feed, pieces)) + screen.finish(), screen


def test_a_prompt_is_refused_in_its_language(loaded):
  assert loaded.check_prompt('How to make a PIPE bomb?') == ('weapons', 'No.')
  assert loaded.check_prompt('怎样制造炸弹') == ('weapons', '不行。')
  assert loaded.check_prompt('How to make a pipe?') is None


def test_a_prompt_is_redacted_and_counted(loaded):
  text, counts = loaded.redact_prompt('I am Anna, a@b.org; sk-abc123.')
  assert text == 'I am [NAME], [EMAIL]; sk-abc123.'  # that rule reads answers
  assert counts == {'name': 1, 'email': 1}


def test_a_prompt_is_read_by_all_rules_at_once(loaded):
  checked = loaded.read_prompt('Acme says: mail a@b.org')
  assert checked.text == 'Acme says: mail [EMAIL]'
  assert checked.hits == {'rivals': 1, 'personal': 1}
  assert loaded.read_prompt('acme pipe bomb')[:2] == ('', ('weapons', 'No.'))


def test_an_answer_stops_before_what_is_refused(loaded):
  shown, screen = answered(loaded, 'Take acme tubes. sk-abcd1 is for a pipe bomb: mix')
  assert shown == 'Take acme tubes. [SECRET] is for a '
  assert screen.refusal == ('weapons', 'No.')
  assert screen.hits == {'rivals': 1, 'secrets': 1, 'weapons': 1}
  assert screen.redactions == {'secrets': 1}
  assert screen.feed('more') == ''


def test_a_window_that_a_classifier_finds_is_hidden(loaded):
  shown, screen = answered(loaded, ['It is a fine day. I hate you. Bye.'])
  assert shown == 'It is a fine day.[HOSTILE] Bye.'
  assert screen.redactions == {'hostile': 1}


@pytest.mark.parametrize('seed', range(3))
def test_any_pieces_give_what_the_whole_answer_gives(loaded, seed):
  rng = random.Random(seed)
  atoms = (
    'pipe bomb 制造炸弹 sk- abcd12 acme hate Anna 李雷 a@b.org 139 12345678'.split()
  )
  atoms += [
    'sk-abc12',
    '13912345678',
    ' ',
    ' ',
    '. ',
    '。',
    '\n',
    'pipe bomb'[: 4 + seed],
  ]
  for _ in range(150):
    text = ''.join(rng.choice(atoms) for _ in range(rng.randint(1, 16)))
    whole, place, pieces = answered(loaded, [text]), 0, []
    while place < len(text):
      pieces.append(text[place : place + rng.randint(0, 6)])
      place += len(pieces[-1])
    shown = answered(loaded, pieces)
    assert shown[0] == whole[0], text
    for what in ('refusal', 'hits', 'redactions'):
      assert getattr(shown[1], what) == getattr(whole[1], what), text


def test_refusals_have_a_default_for_all_rules(load):
  rule = {'name': 'a', 'type': 'words', 'action': 'refuse', 'words': ['bad']}
  loaded = load([rule], refusal='Nein.')
  assert loaded.check_prompt('bad').text == 'Nein.'
  assert load([rule]).check_prompt('坏bad的').text == '抱歉，这个问题我无法回答。'


def test_a_policy_says_whether_it_asks_a_model(load):
  assert load().is_slow and not load(RULES[:2]).is_slow


def test_the_language_is_that_of_the_script():
  texts = {'zh': '不', 'ja': 'いや', 'en': 'no'}
  samples = {'你好': '不', 'こんにちは': 'いや', 'hello': 'no', '5': 'no', '안녕': 'no'}
  for sample, said in samples.items():
    assert policy.in_language(texts, sample) == said
