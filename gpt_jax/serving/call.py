"""One request on its way through the server, and what it is answered with."""

import asyncio
import collections
import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.hooks import Hooks
from gpt_jax.serving.models import Models
from gpt_jax.serving.request_record import RequestRecord
from gpt_jax.serving.settings import Settings


@dataclasses.dataclass(frozen=True)
class Stream:
  """An answer as server-sent events."""

  events: AsyncIterator[dict]


@dataclasses.dataclass
class Call:
  """What routes receive: `body` is checked by the route's table of fields."""

  record: RequestRecord
  settings: Settings
  hooks: Hooks
  models: Models
  body: dict[str, Any] = dataclasses.field(default_factory=dict)
  key: Any = None
  admission: Any = None
  """What the key store has reserved for it."""
  prompt_text: str | None = None
  answer_text: str | None = None
  """For the request log, which may keep them redacted."""
  created: int = dataclasses.field(default_factory=lambda: int(time.time()))
  stack: contextlib.ExitStack = dataclasses.field(
    default_factory=contextlib.ExitStack, repr=False
  )
  """What is let go when the request has ended, however that was."""

  @property
  def principal(self):
    """Who asks, for prefix cache and queue; None: the server has no keys."""
    return None if self.key is None else str(self.key.id)

  def get(self, name, default=None):
    """Returns a field of the body; None counts as left out."""
    value = self.body.get(name)
    return default if value is None else value

  async def admit(self, tokens=0):
    """Counts the request against the limits of its key; raises what the store does.

    `tokens` as of `hooks.Keys.admit`.
    """
    if self.key is not None and self.hooks.keys is not None:
      admit = self.hooks.keys.admit
      self.admission = await asyncio.to_thread(admit, self.key, tokens)

  def may_use(self, name):
    """Returns whether the key allows a model."""
    return self.key is None or self.key.allows_model(name)

  def use(self, ability):
    """Returns the Served that the body names, kept open until the request has ended.

    Raises ApiError for one that is not there, or cannot do that.
    """
    served = self.models.get(self.body['model'])
    if not self.may_use(served.name):
      raise forbidden(f'The key may not use the model {served.name!r}.', 'model')
    served.model.require(ability)
    self.stack.enter_context(self.models.used(served))
    self.record.model = served.name
    return served

  def identifier(self, prefix):
    """Returns the id of the answer."""
    return prefix + self.record.id.removeprefix('req_')

  async def admitted_prompt(self, text):
    """Returns (text as the policy lets it be read, Refusal or None)."""
    policy = self.hooks.policy
    if policy is None:
      return text, None
    if (read := getattr(policy, 'read_prompt', None)) is not None:
      found = await asyncio.to_thread(read, text)
      self.record.redactions.update(found.redactions)
      self.record.filter_hits.update({('prompt', r): n for r, n in found.hits.items()})
      return (text if found.refusal else found.text), found.refusal
    refusal = await asyncio.to_thread(policy.check_prompt, text)
    if refusal is not None:
      self.record.filter_hits['prompt', str(refusal.rule)] += 1
      return text, refusal
    redact = getattr(policy, 'redact_prompt', None)
    if redact is not None:
      text, counts = await asyncio.to_thread(redact, text)
      self.record.redactions.update(counts)
    return text, None


def forbidden(message, param=None):
  """Returns the ApiError of what a key may not do."""
  return ApiError(
    403, message, kind='permission_error', code='not_allowed', param=param
  )


def new_record(method, route='unknown'):
  """Returns the RequestRecord of a request that has just come."""
  return RequestRecord(id='req_' + secrets.token_hex(12), route=route, method=method)


def dump(value):
  """Returns JSON as bytes."""
  return json.dumps(value, ensure_ascii=False, separators=(',', ':')).encode(
    'utf-8', 'replace'
  )


class Screen:
  """An answer on its way through the policy's output filter, if there is one."""

  def __init__(self, call):
    policy = call.hooks.policy
    self._call, self._filter = call, policy and policy.output_filter()
    self._is_slow = bool(getattr(policy, 'is_slow', False))

  @property
  def refusal(self):
    """Why the answer is stopped, or None."""
    return self._filter.refusal if self._filter is not None else None

  async def show(self, piece, is_last=False):
    """Returns what of a piece, and of what was held back, can be shown."""
    if self._filter is None:
      return piece
    if self._is_slow:
      return await asyncio.to_thread(self._show, piece, is_last)
    return self._show(piece, is_last)

  def _show(self, piece, is_last):
    found = self._filter.feed(piece) if piece else ''
    if is_last and self._filter.refusal is None:
      found += self._filter.finish()
    return found

  def close(self):
    """Counts what was found."""
    if self._filter is None:
      return
    record = self._call.record
    record.redactions.update(getattr(self._filter, 'redactions', None) or {})
    hits = collections.Counter(getattr(self._filter, 'hits', None) or {})
    if not hits and self.refusal is not None:
      hits[str(self.refusal.rule)] += 1
    for rule, count in hits.items():
      record.filter_hits['answer', str(rule)] += count
