"""Fixed replies from a file."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.support import replies

FILE = r"""
values: {hours: from 9 to 17}
replies:
  - name: hours
    patterns: ['\bopening hours\b', '营业时间']
    reply: 'We are there {{ hours }}.'
  - name: person
    patterns: ['real person']
    action: hand_over
texts: {no_answer: 'Nothing.', waiting: {zh: '请等待。'}}
"""


@pytest.fixture
def write(tmp_path):
  def write(text):
    (tmp_path / 'r.yaml').write_text(text)
    return tmp_path / 'r.yaml'

  return write


def test_a_pattern_chooses_a_reply_with_its_values(write):
  found = replies.load(write(FILE))
  reply = found.find('what are your OPENING HOURS?')
  assert found.render(reply) == 'We are there from 9 to 17.'
  assert found.find('a real person!').template is None
  assert found.find('lamps') is None


def test_texts_that_a_file_lacks_are_the_shipped_ones(write):
  own, shipped = replies.load(write(FILE)), replies.load()
  assert own.text('no_answer', 'hello') == own.text('no_answer', '你好') == 'Nothing.'
  assert own.text('waiting', '你好') == '请等待。'
  assert own.text('waiting', 'hello') == shipped.text('waiting', 'hello')
  assert shipped.text('hand_over', '你好') != shipped.text('hand_over', 'hello')


@pytest.mark.parametrize(
  'message, name',
  [('Hello!', 'greeting'), ('hi there', 'greeting'), ('您好', 'greeting-zh'),
   ('Thank you very much', 'thanks'), ('bye', 'goodbye'),
   ('I want to talk to a human', 'person'), ('转人工', 'person-zh'),
   ('Hi, how long is the warranty on lamps?', None),
   ('Can I talk to you about a refund?', None),
   ('great lamps, what do they cost', None)],
)  # fmt: skip
def test_the_shipped_patterns_know_questions_from_greetings(message, name):
  found = replies.load().find(message)
  assert (found.name if found else None) == name


@pytest.mark.parametrize(
  'old, new, said',
  [
    ('patterns: [', 'pattern: [', "entry 1 .hours.: unknown key 'pattern'.*'patterns'"),
    (r"'\bopening hours\b'", "'(open'", "pattern '.open'"),
    ('{{ hours }}', '{{ hour }}', "'hour' is undefined .values: hours"),
    ('{{ hours }}', '{{ hours', 'reply:'),
    ('action: hand_over', 'action: dance', "'dance': expected hand_over"),
    ('    action: hand_over\n', '', "give 'reply', or"),
    ('no_answer:', 'noanswer:', "unknown key 'noanswer'.*'no_answer'"),
    ('replies:', 'reply:', "expected an object with 'replies'"),
    ('values: {', 'values: [', 'cannot be read as YAML'),
  ],
)
def test_a_mistake_in_a_file_is_named(write, old, new, said):
  assert old in FILE
  with pytest.raises(ConfigError, match=said):
    replies.load(write(FILE.replace(old, new)))


def test_templates_run_in_the_sandbox(write):
  text = "{{ ''.__class__.__mro__ }}"
  with pytest.raises(ConfigError, match='reply:'):
    replies.load(
      write(FILE.replace('We are there {{ hours }}.', text.replace("'", "''")))
    )


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(ConfigError, match='gone.yaml: cannot be read'):
    replies.load(tmp_path / 'gone.yaml')
