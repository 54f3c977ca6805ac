"""Named prompt templates and a user's own text."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.templates import printed, prompts
from gpt_jax.templates.template import label_of, render

ALL = prompts.list_templates()


@pytest.mark.parametrize('template', ALL, ids=lambda each: each.name)
def test_each_template_can_be_shown_on_its_example(template):
  example = prompts.example_of(template)
  prompt, target = render(template, example)
  assert prompts.get(template.name) == template  # its placeholders are fields
  assert prompt == prompt.rstrip() and target.strip()
  assert '{' not in prompt + target
  # One space of the target, in languages that have any, so that tokens are usual ones.
  if template.language != 'zh' and not target.startswith('\n'):
    assert target.startswith(' ') and target[1] != ' '
  given = [name for name in template.placeholders() if f'{{{name}}}' in template.text]
  for name in given:
    assert printed.value(name, example, template.language) in prompt


@pytest.mark.parametrize(
  'template', [each for each in ALL if each.verbalizers], ids=lambda each: each.name
)
def test_each_word_is_of_one_label(template):
  words = [word for words in template.verbalizers.values() for word in words]
  assert len(set(words)) == len(words)
  for label, of_label in template.verbalizers.items():
    assert {label_of(template, f' {word}.') for word in of_label} == {label}
  assert set(template.aliases.values()) <= set(template.verbalizers)


def test_each_family_of_tasks_has_templates():
  assert {(each.task, each.language) for each in ALL} >= {
    ('classification', 'en'), ('classification', 'zh'), ('topic', 'en'),
    ('pairs', 'en'), ('seq2seq', 'en'), ('qa', 'en'), ('qa', 'zh'), ('ner', 'en'),
    ('choice', 'en'), ('recommendation', 'en'), ('instruction', 'en'),
  }  # fmt: skip


def test_answers_of_the_examples_stand_where_they_say():
  for template in ALL:
    if template.task == 'qa':
      example = prompts.example_of(template)
      (answer,) = example['answers']
      assert example['context'][answer['start'] :].startswith(answer['text'])


def test_a_text_of_a_user_is_a_template():
  template = prompts.get('Q: {question}\nA:', target=' {answers}')
  assert template.name == prompts.OWN
  values = {'question': 'Who?', 'answers': ['Ada', 'Eve']}
  assert render(template, values) == ('Q: Who?\nA:', ' Ada')


def test_a_named_template_takes_other_words():
  template = prompts.get('sentiment-en', verbalizers={0: 'awful', 1: ['great', 'ok']})
  assert render(template, {'text': 'x', 'label': 1})[1] == ' great'
  assert template.aliases == {}


@pytest.mark.parametrize(
  'text, settings, message',
  [
    ('sentiment-ne', {}, "did you mean 'sentiment-en'"),
    ('Say {txt}.', {}, r'\{txt\} is no field; .* did you mean \{text\}'),
    ('Say {text}', {'target': '{labl}'}, r'did you mean \{label\}'),
    ('Say {text', {}, "'{' near 'Say {text'"),
    ('Say }', {}, 'write {{ and }} for braces'),
    ('Say {0}', {}, "'{0}' near"),
    ('Say {text.upper}', {}, 'expected {name}'),
    ('Say {entities}', {'fields': ('text', 'label')}, r'\{entities\} is no field'),
    ('qa-en', {'fields': ('text',)}, r'\{context\} is no field'),
    ('{text}', {'verbalizers': {'a': []}}, "label 'a' has"),
  ],
)
def test_a_mistake_is_named_with_the_nearest_right_thing(text, settings, message):
  with pytest.raises(ConfigError, match=message):
    prompts.get(text, **settings)
