"""Every mistake of a policy file is a line with its place."""

import json

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.safety import policy_file
from gpt_jax.safety.policy_file import Models

WORDS = {'name': 'a', 'type': 'words', 'action': 'log', 'words': ['bad']}


def read(tmp_path, content, models=None):
  path = tmp_path / 'policy.json'
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return policy_file.read(path, models or Models())


@pytest.mark.parametrize(
  'change, message',
  [
    ({'type': 'wordz'}, r"rules\[0\].type='wordz': .*did you mean 'words'\?"),
    ({'type': ['words']}, r'rules\[0\].type='),
    ({'action': 'refuze'}, r"rules\[0\].action='refuze': .*did you mean 'refuse'\?"),
    ({'on': 'promt'}, r"rules\[0\].on='promt': .*did you mean 'prompt'\?"),
    ({'name': 'a/b'}, r"rules\[0\].name='a/b': expected letters"),
    ({'wordz': []}, r"rules\[0\].wordz: no such field; .*did you mean 'words'\?"),
    ({'words': 'bad'}, r"rules\[0\].words='bad': expected a list of texts"),
    ({'words': []}, r'rules\[0\].words: there are none'),
    ({'file': 'none.txt'}, r"rules\[0\].file='none.txt': cannot read .*none.txt"),
    ({'refusal': 'No.'}, r'rules\[0\].refusal: only a rule with action "refuse"'),
    ({'action': 'refuse', 'refusal': {'English': 'No'}}, r'rules\[0\].refusal='),
    (
      {'type': 'regex', 'words': None, 'patterns': ['a', '(b']},
      r'rules\[0\].words: no such field',
    ),
  ],
)
def test_a_mistake_of_a_rule_is_told_with_its_place(tmp_path, change, message):
  with pytest.raises(ConfigError, match=r'policy .*policy.json: ' + message):
    read(tmp_path, {'rules': [WORDS | change]})


@pytest.mark.parametrize(
  'rule, message',
  [
    ({'type': 'regex', 'patterns': ['a', '(b']}, r"rules\[0\].patterns\[1\]='\(b'"),
    ({'type': 'personal_data', 'kinds': ['fone']}, r"rules\[0\].kinds='fone'.*'phone'"),
    ({'type': 'personal_data', 'kinds': ['name']}, 'names are found by a model'),
    ({'type': 'personal_data', 'names': 'runs/x'}, 'no tagger can be opened here'),
    ({'type': 'classifier', 'run': 'x', 'class': 'y'}, 'no classifier can be opened'),
  ],
)
def test_options_of_each_type_are_checked(tmp_path, rule, message):
  with pytest.raises(ConfigError, match=message):
    read(tmp_path, {'rules': [{'name': 'a', 'action': 'log'} | rule]})


@pytest.mark.parametrize(
  'content, message',
  [
    ('{"rules": [}', r'no JSON: .*line 1 column 12'),
    ('{"rules": [], "rules": []}', "'rules' stands twice"),
    ('[]', r'=\[\]: expected an object'),
    ('{}', 'rules: is missing'),
    ('{"rules": []}', 'rules: expected a list with at least one rule'),
    ('{"rules": [5]}', r'rules\[0\]=5: expected an object'),
    ('{"rulez": []}', "rulez: no such field; .*did you mean 'rules'"),
  ],
)
def test_a_mistake_of_the_file_is_told(tmp_path, content, message):
  with pytest.raises(ConfigError, match=message):
    read(tmp_path, content)


def test_all_mistakes_are_told_at_once(tmp_path):
  rules = [WORDS | {'on': 'x'}, WORDS | {'action': 'y'}, WORDS, WORDS]
  with pytest.raises(ConfigError) as error:
    read(tmp_path, {'rules': rules})
  lines = str(error.value).splitlines()
  assert [line.split('json: ')[1][:10] for line in lines] == [
    'rules[0].o', 'rules[1].a', 'rules: two',
  ]  # fmt: skip


def test_a_missing_file_is_told(tmp_path):
  with pytest.raises(ConfigError, match='cannot be read: .*No such file'):
    policy_file.read(tmp_path / 'none.json', Models())


def test_words_of_a_file_are_read_beside_it(tmp_path):
  (tmp_path / 'bad.txt').write_text('# comment\nugly\n\n坏的\n', encoding='utf-8')
  rules, digest = read(tmp_path, {'rules': [WORDS | {'file': 'bad.txt'}]})
  assert rules[0].make._words.words == ['bad', 'ugly', '坏的']
  assert len(digest) == 64
