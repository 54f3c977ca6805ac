"""Texts of many senders: what a server sits on. `Run.scheduler()` makes one.

with run.scheduler().start() as scheduler:       # a thread does the work
  handle = scheduler.submit('The function', max_new_tokens=64, priority=1)
  for piece in handle:                           # in complete characters
    print(piece, end='')
"""

import dataclasses

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.pieces import Pieces


class TextHandle:
  """One text that is being written; iterating yields its pieces as they come."""

  def __init__(self, handle, prompt, asked, tokenizer, completion):
    self.handle = handle
    """The `Handle` of the ids: `seconds`, `reused_tokens`, `ended`."""
    self.prompt = prompt
    self._asked, self._tokenizer, self._completion = asked, tokenizer, completion

  @property
  def shown_prompt(self):
    """The text of the prompt."""
    is_text = isinstance(self.prompt, str)
    return self.prompt if is_text else self._tokenizer.decode(self.prompt)

  def pieces(self):
    """Returns the Pieces that take the ids of this text, for who waits otherwise."""
    return Pieces(self._tokenizer, self.shown_prompt, self._asked.stop)

  def __iter__(self):
    if self._asked.echo and self.shown_prompt:
      yield self.shown_prompt
    pieces = self.pieces()
    for token_id in self.handle:
      if piece := pieces.push(token_id):
        yield piece
    if piece := pieces.finish():
      yield piece

  def result(self):
    """Returns the Completion once the text is over; raises what made it fail."""
    written, request = self.handle.result(), self.handle.request
    return self._completion(self.prompt, self._asked, request, written)

  def cancel(self):
    """Ends the text where it is."""
    self.handle.cancel()


class TextScheduler:
  """A `Scheduler` behind a tokenizer; used from any number of threads."""

  def __init__(self, scheduler, tokenizer, read, completion):
    """Takes a Scheduler, and the parts of the TextGenerator that makes this."""
    self.scheduler = scheduler
    self._tokenizer, self._read, self._completion = tokenizer, read, completion

  def read(self, prompt, principal=None, **options):
    """Returns what `send` takes: a prompt, a text or ids, and `Run.complete`'s options.

    `principal`: who asks, as of `Request`. Raises ConfigError for what cannot be
    written.
    """
    asked, requests = self._read(prompt, options)
    if len(requests) > 1 or asked.beams > 1:
      raise ConfigError(
        'n, best_of, beams: a handle is one text; submit the prompt again with other'
        ' seeds, or use `complete`.'
      )
    return prompt, asked, dataclasses.replace(requests[0], principal=principal)

  def send(self, read, priority=0):
    """Returns the TextHandle of what `read` returned; quick.

    Raises QueueFullError where inference.queue_limit requests wait.
    """
    prompt, asked, request = read
    handle = self.scheduler.submit(request, priority)
    return TextHandle(handle, prompt, asked, self._tokenizer, self._completion)

  def submit(self, prompt, priority=0, principal=None, **options):
    """Returns the TextHandle of a prompt: `send` of `read`."""
    return self.send(self.read(prompt, principal, **options), priority)

  def start(self):
    """Works in a thread of its own from now on; returns itself."""
    self.scheduler.start()
    return self

  def close(self):
    """Ends all texts and frees the slots."""
    self.scheduler.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()
