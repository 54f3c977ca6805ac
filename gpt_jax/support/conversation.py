"""A dialogue with a customer: fixed replies, answers, and a person who takes over."""

import dataclasses
from typing import Any

from gpt_jax.support import follow_up, hand_over


@dataclasses.dataclass(frozen=True)
class Turn:
  """A message and what was replied."""

  message: str
  kind: str  # 'fixed', 'answer', 'no_answer', 'hand_over' or 'waiting'
  reply: str
  query: str | None = None  # what was searched for
  found: Any = None  # service.Found, where it was
  note: str = ''  # name of a fixed reply; why a person takes over

  def to_dict(self):
    """Returns it as JSON has it."""
    values = dict(message=self.message, kind=self.kind, reply=self.reply)
    if self.note:
      values['note'] = self.note
    if self.query is not None:
      values['query'] = self.query
    if self.found is not None:
      values |= {
        'confidence': self.found.confidence,
        'citations': [one.to_dict() for one in self.found.citations],
      }
    return values


class Conversation:
  """Replies to the messages of one customer, in order; `turns` has them all."""

  def __init__(self, service, replies, rules, write_transcript):
    """Takes a Service, Replies, Rules, and who keeps the transcript.

    `write_transcript(turns, reason)`: called when a person takes over, and again at
    each message after that, with all turns, dicts of plain JSON values.
    """
    self._service, self._replies, self._rules = service, replies, rules
    self._write = write_transcript
    self._last_question, self._num_unsure = '', 0
    self.turns: list[Turn] = []
    self.handed_over = ''

  def say(self, message):
    """Returns the Turn of the next message."""
    message = ' '.join(message.split())
    if self.handed_over:
      text = self._replies.text('waiting', message)
      return self._added(Turn(message, 'waiting', text))
    fixed = self._replies.find(message)
    if fixed is not None and fixed.template is None:
      return self._hand_over(message, hand_over.ASKED)
    if fixed is not None:
      text = self._replies.render(fixed)
      return self._added(Turn(message, 'fixed', text, note=fixed.name))
    return self._answer(message)

  def _answer(self, message):
    is_known = self._service.knows(message)
    query = follow_up.query_of(message, self._last_question, is_known)
    found = self._service.answer(message, query)
    if query == message:  # what follows up is about the question before it
      self._last_question = message
    # Models of sentiment take most questions about a product for complaints: what a
    # threshold says the documents answer is answered, whatever its tone.
    is_known_answer = found.is_sure and found.confidence is not None
    if not is_known_answer and (reason := self._rules.reason_angry(message)):
      return self._hand_over(message, reason, query)
    if found.is_sure:
      self._num_unsure = 0
      return self._added(Turn(message, 'answer', found.text, query, found))
    self._num_unsure += 1
    if reason := self._rules.reason_unsure(self._num_unsure):
      return self._hand_over(message, reason, query, found)
    text = self._replies.text('no_answer', message)
    return self._added(Turn(message, 'no_answer', text, query, found))

  def _hand_over(self, message, reason, query=None, found=None):
    self.handed_over = reason
    text = self._replies.text('hand_over', message)
    return self._added(Turn(message, 'hand_over', text, query, found, reason))

  def _added(self, turn):
    self.turns.append(turn)
    if self.handed_over:
      self._write([one.to_dict() for one in self.turns], self.handed_over)
    return turn
