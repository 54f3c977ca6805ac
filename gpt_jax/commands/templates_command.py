"""Lists the templates of prompts and chats, or shows one on a built-in example.

A template of prompts is shown as the prompt and the target that follows it; one of
chats as its parts, each with whether it bears the loss in training.

examples:
  gpt-jax templates sentiment-en
  gpt-jax templates chatml
  gpt-jax templates
"""

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

CONVERSATION = [
  {'role': 'system', 'content': 'Answer in one sentence.'},
  {'role': 'user', 'content': 'Why is the sky blue?'},
  {'role': 'assistant', 'content': 'Air scatters blue light more than red.'},
  {'role': 'user', 'content': 'And at sunset?'},
  {'role': 'assistant', 'content': 'The light comes a longer way, and blue is gone.'},
]


def add_arguments(parser):
  parser.add_argument(
    'name', nargs='?', metavar='NAME', help='a template to show; without: list all'
  )


def run(args, overrides):
  from gpt_jax.templates import jinja_chat, prompts

  flags.refuse_overrides(overrides)
  prompt_templates = {each.name: each for each in prompts.list_templates()}
  if args.name is None:
    _list(prompt_templates.values(), jinja_chat.BUILT_IN)
  elif args.name in prompt_templates:
    _show_prompt(prompt_templates[args.name])
  elif args.name in jinja_chat.BUILT_IN:
    _show_chat(jinja_chat.get(args.name))
  else:
    hint = nearest(args.name, [*prompt_templates, *jinja_chat.BUILT_IN])
    raise ConfigError(
      f'{args.name!r}: no template of this name; gpt-jax templates lists them'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )


def _list(prompt_templates, chat_templates):
  from gpt_jax.tracking import console

  rows = [
    (each.name, each.task, each.language, ' '.join(each.placeholders()))
    for each in prompt_templates
  ]
  console.table('prompts', ('name', 'task', 'language', 'placeholders'), rows)
  console.table('chats', ('name', 'what it looks like'), list(chat_templates.items()))


def _show_prompt(template):
  from gpt_jax.templates import prompts
  from gpt_jax.templates.template import render

  prompt, target = render(template, prompts.example_of(template))
  print(f'--- prompt\n{prompt}\n--- target\n{target}')
  for label, words in template.verbalizers.items():
    print(f'--- label {label}: {", ".join(words)}')


def _show_chat(template):
  from gpt_jax.templates import chat
  from gpt_jax.tracking import console

  parts = chat.render_parts(CONVERSATION, template)
  rows = [
    ('yes' if loss else 'no', cell) for part, loss in parts for cell in _cut(part)
  ]
  console.table(f'chat template {template.name}', ('loss', 'text'), rows)


def _cut(text):
  """Returns the lines of a text, with their line ends visible."""
  return [repr(line)[1:-1] for line in text.splitlines(keepends=True)]
