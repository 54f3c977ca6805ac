"""Texts that a scheduler's thread writes, awaited on a loop without a thread each.

The scheduler tells once a step; the loop then wakes those whose text has grown.
"""

import asyncio
import concurrent.futures
import dataclasses
import math
from typing import Any

from gpt_jax.inference import completion
from gpt_jax.inference.token_log_probs import LogProbs
from gpt_jax.serving.errors import ApiError

SHORT = 4096
"""Characters of a prompt that is tokenized on the loop: a thread costs more."""
POOL = 4


@dataclasses.dataclass(frozen=True)
class Part:
  """What is new of a text."""

  text: str
  count: int
  """Of its ids."""
  log_probs: tuple[completion.TokenLogProb, ...]
  finish: str | None
  """As of Handle.ended; None: more will come."""


class Texts:
  """The texts of one TextScheduler, which works in its own thread."""

  def __init__(self, scheduler, tokenizer, context):
    """Takes a TextScheduler, and how many tokens prompt and text may have together."""
    self.context = context
    self.tokenizer = tokenizer
    self._scheduler = scheduler
    self._loop: Any = None
    self._waiting = {}  # future -> (Handle, how many ids are known)
    self._is_told = False
    self._pool = concurrent.futures.ThreadPoolExecutor(POOL, 'tokenizing')
    self._longest_token = max(map(len, tokenizer.token_bytes), default=1) or 1
    self.on_death: Any = None
    """Called with the error, on the loop, when the scheduler has died."""
    self.raw.listen = self._tell

  @property
  def raw(self):
    """The Scheduler itself."""
    return self._scheduler.scheduler

  @property
  def error(self):
    """What ended the scheduler; None: it works."""
    return self.raw.error

  @property
  def most_at_once(self):
    """How many texts the slots and the queue hold."""
    limit = self.raw.queue_limit
    return math.inf if limit is None else self.raw.slots.num_slots + limit

  def start(self):
    self._scheduler.start()

  def close(self):
    self._scheduler.close()
    self._pool.shutdown(wait=False)

  async def read(self, prompt, options, principal=None):
    """Returns what `send` takes. Raises ApiError 400 for what does not fit.

    Options are those of `Run.complete`; without max_new_tokens a text may have what the
    config says, or what the prompt leaves.
    """
    self._require_possible(prompt, options)
    is_short = len(prompt) <= SHORT and not _has_grammar(options)
    args = prompt, options, principal
    if is_short:
      return self._read(*args)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(self._pool, self._read, *args)

  def _read(self, prompt, options, principal):
    try:
      return self._fitting(prompt, options, principal)
    except Exception:
      raise
    except BaseException as error:  # a panic of a package in Rust
      raise RuntimeError(f'grammar: {error}') from error

  def _fitting(self, prompt, options, principal):
    read = self._scheduler.read(prompt, principal, **options)
    request = read[2]
    left = self.context - len(request.prompt_ids)
    if request.max_new_tokens <= left:
      return read
    if options.get('max_new_tokens') is None and left > 0:
      options = options | {'max_new_tokens': left}
      return self._scheduler.read(prompt, principal, **options)
    raise self._too_long(len(request.prompt_ids), request.max_new_tokens)

  def _require_possible(self, prompt, options):
    """Raises ApiError 400 for what is too long for certain, before it is tokenized."""
    is_text = isinstance(prompt, str)
    if is_text and len(prompt) <= SHORT:
      return
    least = len(prompt.encode()) // self._longest_token if is_text else len(prompt)
    new = options.get('max_new_tokens') or 0
    if least + new > self.context:
      raise self._too_long(least, new, ' or more' if is_text else '')

  def _too_long(self, count, new, more=''):
    return ApiError(
      400,
      f'The prompt has {count:,}{more} tokens and the answer may have {new:,}'
      f' (max_tokens), {count + new:,}{more} together; this model holds'
      f' {self.context:,}. Shorten one of them.',
      code='context_length_exceeded',
      param='max_tokens',
    )

  def submit_now(self, prompt, **options):
    """Returns a TextHandle for who waits in a thread, as TextScheduler.submit."""
    return self._scheduler.submit(prompt, **options)

  def require_room(self, count):
    """Raises QueueFullError where not `count` more requests can wait."""
    self.raw.require_room(count)

  def send(self, read):
    """Returns the Text of what `read` returned. Raises QueueFullError."""
    if self._loop is None:
      self._loop = asyncio.get_running_loop()
    return Text(self, self._scheduler.send(read))

  async def wait(self, handle, known):
    """Returns once `handle` has more than `known` ids, or is over."""
    if handle.ended or len(handle.writing.ids) > known:
      return
    future = asyncio.get_running_loop().create_future()
    self._waiting[future] = handle, known
    try:
      await future
    finally:
      self._waiting.pop(future, None)

  def _tell(self):
    # In the scheduler's thread, after each step.
    if self._loop is None or self._is_told:
      return
    self._is_told = True
    try:
      self._loop.call_soon_threadsafe(self._wake)
    except RuntimeError:  # the loop has been closed
      self._loop = None

  def _wake(self):
    self._is_told = False
    for future, (handle, known) in self._waiting.items():
      if not future.done() and (handle.ended or len(handle.writing.ids) > known):
        future.set_result(None)
    if self.error is not None and self.on_death is not None:
      self.on_death(self.error)


class Text:
  """One text; to leave `parts` or `completion` before its end cancels it."""

  def __init__(self, texts, handle):
    self._texts, self._handle = texts, handle
    self.handle = handle.handle

  @property
  def num_prompt(self):
    """Tokens of the prompt."""
    return len(self.handle.request.prompt_ids)

  @property
  def prompt(self):
    """The text of the prompt."""
    return self._handle.shown_prompt

  def cancel(self):
    self.handle.cancel()

  async def parts(self):
    """Yields a Part whenever the text has grown; the last one has `finish`."""
    handle, pieces, known, rows = self.handle, self._handle.pieces(), 0, 0
    is_asked = handle.request.log_probs is not None
    try:
      while True:
        await self._texts.wait(handle, known)
        finish = handle.ended
        if finish == 'failed':
          handle.result()  # raises
        log_probs = handle.writing.log_probs[rows:] if is_asked else []
        ids = handle.writing.ids[known:]
        if is_asked and not finish:  # ids come a moment before their probabilities
          ids = ids[: sum(len(part.written) for part in log_probs)]
        known, rows = known + len(ids), rows + len(log_probs)
        text = ''.join(map(pieces.push, ids)) + (pieces.finish() if finish else '')
        yield Part(text, len(ids), self._tokens(ids, log_probs), finish)
        if finish:
          return
    finally:
      if not handle.ended:
        handle.cancel()

  def _tokens(self, ids, parts):
    if not parts:
      return ()
    return sum(
      (
        completion.token_log_probs(self._texts.tokenizer, part_ids, part)
        for part_ids, part in _aligned(ids, parts)
      ),
      (),
    )

  async def completion(self):
    """Returns the Completion once it is over; raises what made it fail."""
    try:
      await self._texts.wait(self.handle, math.inf)
    finally:
      if not self.handle.ended:
        self.handle.cancel()
    if self.handle.request.log_probs is None:
      return self._handle.result()
    # Those of an echoed prompt take the model.
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(self._texts._pool, self._handle.result)


def _aligned(ids, parts: list[LogProbs]):
  """Yields (ids, LogProbs) of each part."""
  start = 0
  for part in parts:
    stop = start + len(part.written)
    yield ids[start:stop], part
    start = stop


def _has_grammar(options):
  return any(options.get(name) is not None for name in ('json_schema', 'regex'))
