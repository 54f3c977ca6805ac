"""Conversations as the parts of a document: what is read, and what is learned.

Replies of the assistant bear the loss, with the end of their turn. They are found by
rendering the conversation up to each of them and taking differences, so that any
template will do which adds to what it wrote before.
"""

import re
import typing

import jinja2

from gpt_jax.core.errors import DataError
from gpt_jax.data.documents import Special
from gpt_jax.templates import jinja_chat

ROLES = SYSTEM, USER, ASSISTANT = 'system', 'user', 'assistant'

_PRIVATE = range(0xE000, 0xF900)  # code points that no standard gives a meaning


def check_messages(messages, place=''):
  """Returns messages; DataError for one out of order, with `place`, turn and a fix.

  A system message may come first; then user and assistant take turns, the user first.
  """
  where = f'{place}: ' if place else ''
  if not isinstance(messages, list) or not messages:
    raise DataError(
      f'{where}messages={messages!r}: expected a list of at least one message, such as'
      " {'role': 'user', 'content': '...'}."
    )
  before = None
  for turn, message in enumerate(messages, start=1):
    problem = _problem(message, before)
    if problem:
      role = message.get('role') if isinstance(message, dict) else message
      raise DataError(f'{where}turn {turn} ({role!s:.80}): {problem}')
    before = message['role']
  if before == SYSTEM:
    raise DataError(
      f'{where}turn {turn} ({SYSTEM}): nobody speaks after it; add a message of the'
      ' user, or drop the conversation.'
    )
  return messages


def _problem(message, before):
  """Returns what is wrong with a message after one of role `before`, or None."""
  if not isinstance(message, dict) or message.get('role') not in ROLES:
    return f"expected a 'role', one of {', '.join(ROLES)}, and a 'content'."
  role, content = message['role'], message.get('content')
  if not isinstance(content, str) or not content.strip():
    return f'content={content!r}: expected a text; fill it or drop the turn.'
  if role == SYSTEM and before is not None:
    return (
      f'a system message after one of the {before}; put it first, or its text into a'
      ' message of the user.'
    )
  if role == ASSISTANT and before in (None, SYSTEM):
    return 'speaks first; put a message of the user before it, or drop it.'
  if role == before:
    return f'two messages of the {role} in a row; join them, or drop one.'
  return None


def render_parts(messages, template, *, add_generation_prompt=False, place=''):
  """Returns [(text or documents.Special, bears_loss)] of a conversation.

  Args:
    messages: [{'role': system, user or assistant, 'content': text}].
    template: a `jinja_chat.ChatTemplate`.
    add_generation_prompt: ends with what the template puts before a reply; the last
      message is then the user's.
    place: names the conversation in errors.

  The texts and names together are what the template renders. Loss is on replies to the
  end of their turn: a marker such as <|im_end|> but no space after it, or that space
  where the template has no marker. Special tokens are those that the template writes;
  text of a message never becomes one. Raises DataError for messages out of order and
  for a template that refuses them, changes what it wrote before a message, or leaves a
  reply out.
  """
  check_messages(messages, place)
  if add_generation_prompt and messages[-1]['role'] == ASSISTANT:
    raise DataError(
      f'{place + ": " if place else ""}turn {len(messages)} ({ASSISTANT}): a reply is'
      ' wanted, but the last message is one; drop it, or add one of the user.'
    )
  marks = _Marks(messages, template)
  renderer = _Renderer(template, marks.marked(messages), place)
  pieces = _pieces(renderer, messages, marks, add_generation_prompt)
  parts = _split(pieces, template.special_tokens, marks)
  plain = _Renderer(template, messages, place)
  whole = plain.upto(len(messages), add_generation_prompt)
  if whole != text_of(parts):
    raise plain.refused('writes other text around a message for what is in it')
  return parts


def text_of(parts):
  """Returns the text of parts, with special tokens by their names."""
  return ''.join(part.name if isinstance(part, Special) else part for part, _ in parts)


def without_begin(parts, begin_token):
  """Returns parts without a first special token that is the begin token.

  For documents that get it anyway (`data.begin_token`), as templates write it, too.
  """
  return parts[1:] if parts and parts[0][0] == Special(begin_token) else parts


class _Marks:
  """Stand-ins in messages: for names of special tokens, and at the end of replies."""

  def __init__(self, messages, template):
    names = sorted(template.special_tokens, key=len, reverse=True)
    self.pattern = re.compile('|'.join(map(re.escape, names)) or '(?!)')
    used = {*template.source, *''.join(names)}
    used.update(*(message['content'] for message in messages))
    free = (chr(code) for code in _PRIVATE if chr(code) not in used)
    self.end, self._quote = next(free), next(free)
    self._names = names
    self._stand_in = re.compile(f'{self._quote}([0-9]+){self._quote}')

  def marked(self, messages):
    """Returns messages in which no text is a special token, and replies end marked."""
    return [message | {'content': self._content(message)} for message in messages]

  def _content(self, message):
    text = self.pattern.sub(
      lambda found: f'{self._quote}{self._names.index(found[0])}{self._quote}',
      message['content'],
    )
    if message['role'] != ASSISTANT:
      return text
    reply = text.rstrip()  # templates may strip the space after it
    return reply + self.end + text[len(reply) :]

  def restored(self, text):
    """Returns text as it was in the messages."""
    text = text.replace(self.end, '')
    return self._stand_in.sub(lambda found: self._names[int(found[1])], text)


class _Renderer:
  """The text of a conversation up to a message; errors that name the place."""

  def __init__(self, template, messages, place):
    self._template, self._messages, self._place = template, messages, place

  def upto(self, count, add_generation_prompt=False):
    """Returns the text of the first `count` messages."""
    try:
      return jinja_chat.render(
        self._template, self._messages[:count], add_generation_prompt
      )
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
      raise self._error(
        f'refuses the first {count} messages: {error}; change the conversation, or'
        ' choose another template.'
      ) from error

  def refused(self, what):
    """Returns the error of a template with which replies cannot be found."""
    return self._error(
      f'{what}, so replies cannot be told apart; choose another template, such as'
      " 'chatml', or one of your own."
    )

  def _error(self, text):
    where = f'{self._place}: ' if self._place else ''
    return DataError(f'{where}chat template {self._template.name!r} {text}')


class _Piece(typing.NamedTuple):
  text: str
  bears_loss: bool


def _pieces(renderer, messages, marks, add_generation_prompt):
  """Returns the marked text of a conversation in _Pieces."""
  pieces, done = [], ''

  def advance(text, upto):
    if not text.startswith(done):
      raise renderer.refused(
        f'changes what it wrote before turn {upto} when that turn is added'
      )
    return text[len(done) :], text

  for i, message in enumerate(messages):
    if message['role'] != ASSISTANT:
      continue
    asked, done = advance(renderer.upto(i, add_generation_prompt=True), i + 1)
    pieces.append(_Piece(asked, False))
    reply, done = advance(renderer.upto(i + 1), i + 1)
    if reply.count(marks.end) != 1:
      raise renderer.refused(f'leaves out or repeats the reply of turn {i + 1}')
    after = reply[reply.index(marks.end) + 1 :]
    kept = len(reply) - (len(after) - len(after.rstrip()) if after.strip() else 0)
    pieces += [_Piece(reply[:kept], True), _Piece(reply[kept:], False)]
  rest, _ = advance(
    renderer.upto(len(messages), add_generation_prompt), len(messages) + 1
  )
  return [*pieces, _Piece(rest, False)]


def _split(pieces, special_tokens, marks):
  """Returns parts: pieces divided at special tokens, neighbours of a kind joined."""
  parts = []

  def add(part, bears_loss):
    is_text = isinstance(part, str)
    if is_text and not part:
      return
    if is_text and parts and parts[-1][1] == bears_loss:
      last = parts[-1][0]
      if isinstance(last, str):
        parts[-1] = (last + part, bears_loss)
        return
    parts.append((part, bears_loss))

  for piece in pieces:
    at = 0
    for found in marks.pattern.finditer(piece.text) if special_tokens else ():
      add(marks.restored(piece.text[at : found.start()]), piece.bears_loss)
      add(Special(found[0]), piece.bears_loss)
      at = found.end()
    add(marks.restored(piece.text[at:]), piece.bears_loss)
  return parts
