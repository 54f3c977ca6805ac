"""Formats of conversations: names, the sandbox, what a template may use."""

import json

import jinja2
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.templates import jinja_chat
from tests.data import tokenizer_zoo


def rendered(source, messages=(), **settings):
  return jinja_chat.render(jinja_chat.get(source, **settings), list(messages))


@pytest.mark.parametrize(
  'name, message',
  [
    ('chatm', "did you mean 'chatml'"),
    ('tokenizer', 'came without one; choose one of chatml'),
    ('{% for m in messages %}\n{% endif %}', 'line 2: .*endif'),
  ],
)
@pytest.mark.parametrize('tokenizer', [None, ByteTokenizer()])
def test_a_template_that_is_not_there_is_refused(name, message, tokenizer):
  with pytest.raises(ConfigError, match=message):
    jinja_chat.get(name, tokenizer)


@pytest.mark.parametrize(
  'source',
  [
    "{{ ''.__class__.__mro__ }}",
    '{{ messages.append(1) }}',
    "{{ '{0.__class__}'.format(1) }}",
    '{% for i in range(10 ** 9) %}{% endfor %}',
    '{% include "/etc/passwd" %}',
  ],
)
def test_a_template_cannot_leave_its_sandbox(source):
  try:
    text = rendered(source)
  except (jinja2.TemplateError, OverflowError, TypeError):
    return
  assert 'class' not in text


def test_json_is_written_as_it_is():
  value = {'b': '<é> & "x"', 'a': [1, None]}
  messages = [{'content': value}]
  assert rendered('{{ messages[0].content | tojson }}', messages) == json.dumps(
    value, ensure_ascii=False
  )
  indented = rendered('{{ messages[0].content | tojson(indent=2) }}', messages)
  assert indented == json.dumps(value, ensure_ascii=False, indent=2)


def test_lines_of_blocks_leave_no_space():
  source = 'a\n  {% if true %}\nb\n  {% endif %}\nc'
  assert rendered(source) == 'a\nb\nc'


def test_a_marked_reply_is_its_text():
  assert rendered('{{ 1 }}{% generation %}{{ 2 }}{% endgeneration %}{{ 3 }}') == '123'


def test_loops_may_end_early():
  source = '{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}'
  assert rendered(source + '{% endfor %}') == '1'


def test_a_template_is_not_told_the_date():
  source = '{% if strftime_now is defined %}{{ strftime_now("%Y") }}{% endif %}-'
  assert rendered(source) == '-'


def test_names_of_special_tokens_are_known_to_a_template():
  model = tokenizer_zoo.make('wordpiece').library_model
  tokenizer = LibraryTokenizer(model, 'json', '[SEP]', {'bos_token': '[UNK]'})
  source = '{{ bos_token }}|{{ eos_token }}|{{ pad_token }}'
  assert rendered(source, tokenizer=tokenizer) == '[UNK]|[SEP]|'
  assert rendered(source) == '||'
  assert rendered('{{ eos_token }}', tokenizer=ByteTokenizer()) == '<|endoftext|>'
