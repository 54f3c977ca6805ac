"""Conversations as the ids that a model reads, and where its reply ends."""

import functools
import pathlib

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.documents import Special
from gpt_jax.serving.errors import ApiError, invalid
from gpt_jax.tasks import dialogue
from gpt_jax.templates import chat, jinja_chat

JOINT = '\n\n'
"""Between messages of one role that follow each other, which formats do not have."""


def template_of(config, tokenizer, asked=None):
  """Returns the ChatTemplate of a run, or None.

  `asked`: a name, a file or a text in Jinja, instead of that of the tokenizer or of the
  dialogues that the run was trained on. Raises ConfigError where it cannot be.
  """
  name = asked
  if name is None and config.task.name == 'dialogue':
    name = config.task.options.template
  if name is None and tokenizer.chat_template:
    name = jinja_chat.OF_TOKENIZER
  if name is None:
    return None
  if asked is not None and '{' not in name and pathlib.Path(name).is_file():
    try:
      name = pathlib.Path(name).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
      raise ConfigError(f'--chat_template={asked}: cannot be read: {error}.') from error
  return jinja_chat.get(name, tokenizer)


class ChatFormat:
  """The format of one model; `ends` are the TextOptions that end a reply."""

  def __init__(self, template, tokenizer, begin_token):
    self._template, self._tokenizer, self._begin = template, tokenizer, begin_token
    self._begin_ids = [tokenizer.special_id(begin_token)] if begin_token else []
    self.ends = dialogue.ends_of(template)

  @property
  def name(self):
    return self._template.name

  def ids_of(self, messages):
    """Returns int32 [n] of messages, dicts of role and content; a reply is to follow.

    Raises ApiError 400 for messages that the format does not take.
    """
    try:
      parts = chat.render_parts(
        joined(messages), self._template, add_generation_prompt=True
      )
    except DataError as error:
      raise ApiError(400, f'messages: {error}', param='messages') from error
    if self._begin:
      parts = chat.without_begin(parts, self._begin)
    ids = [
      self._special(p) if isinstance(p, Special) else self._text(p) for p, _ in parts
    ]
    return np.concatenate([self._begin_ids, *ids]).astype(np.int32)

  def _special(self, part):
    return [self._tokenizer.special_id(part.name)]

  def _text(self, text):
    return self._tokenizer.encode(text)

  @functools.cached_property
  def stop(self):
    """The strings that end a reply, beside special tokens."""
    stop = self.ends.get('stop', ())
    return (stop,) if isinstance(stop, str) else tuple(stop)


def joined(messages):
  """Returns messages in which no role speaks twice in a row."""
  found = []
  for message in messages:
    if found and found[-1]['role'] == message['role']:
      content = found[-1]['content'] + JOINT + message['content']
      found[-1] = found[-1] | {'content': content}
    else:
      found.append(message)
  return found


def content_of(message, path):
  """Returns the text of a message's content, which may be a list of parts."""
  content = message.get('content')
  if isinstance(content, list):
    content = ''.join(part['text'] for part in content)
  if content is None:
    content = ''
  if not content.strip() and not message.get('tool_calls'):
    raise invalid(f'{path}.content', 'has no text; fill it, or leave the message out.')
  return content
